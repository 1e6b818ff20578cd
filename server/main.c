/*
 * latentd: the daemon's entry point.
 */
int main(void)
{
	return 1;
}
