/*
 * Opens each checkpoint that is named and prints one line for it: "ok" or the error, then a tab and
 * the most heap memory (bytes) that was in use at once during that, or -1 under a sanitizer. Exit
 * status 1 if any failed. For test/fault/malformed-checkpoints.
 */
#include <stdio.h>
#include <stdlib.h>

#include "model/checkpoint.h"
#include "test/fault/heap-peak.h"

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++) {
		struct lt_err err = {0};
		struct mdl *m;
		heap_peak_reset();
		int rc = mdl_open(argv[i], &m, &err);
		size_t peak = heap_peak();
		if (rc < 0)
			bad = 1;
		printf("%s\t%ld\n", rc < 0 ? err.text : "ok", heap_peak_works ? (long)peak : -1L);
		fflush(stdout);
		if (rc == 0)
			mdl_close(m);
	}
	return bad;
}
