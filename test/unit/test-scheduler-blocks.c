/*
 * scheduler/: pool of blocks, prefix index, tenants, table of states; each alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "scheduler/blocks.h"
#include "scheduler/seq.h"
#include "scheduler/tenant.h"

#define N 6

struct pool {
	struct sched_prefix index;
	struct sched_blocks blocks;
	unsigned char key[16][SCHED_KEY_BYTES]; /* of text i after text i - 1 */
};

static void pool_init(struct pool *p)
{
	static const unsigned char salt[SCHED_SALT_BYTES] = {1};
	int32_t text[ENG_BLOCK_TOKENS];

	assert_int_equal(sched_prefix_init(&p->index, N), 0);
	assert_int_equal(sched_blocks_init(&p->blocks, N, &p->index), 0);
	for (int i = 0; i < 16; i++) {
		for (uint32_t k = 0; k < ENG_BLOCK_TOKENS; k++)
			text[k] = i * 100 + (int32_t)k;
		if (i == 0)
			sched_prefix_root(&p->index, salt, p->key[0]);
		sched_prefix_child(&p->index, p->key[i ? i - 1 : 0], text, p->key[i]);
	}
}

static void pool_fini(struct pool *p)
{
	sched_blocks_fini(&p->blocks);
	sched_prefix_fini(&p->index);
}

static void pool_counts(const struct pool *p, uint32_t used, uint32_t cached, uint32_t shared)
{
	assert_int_equal(p->blocks.used, used);
	assert_int_equal(p->blocks.cached, cached);
	assert_int_equal(p->blocks.shared, shared);
	assert_int_equal(sched_blocks_left(&p->blocks), N - used);
}

static void references(void **state)
{
	struct pool p;
	uint32_t all[N];

	(void)state;
	pool_init(&p);
	for (int i = 0; i < N; i++) {
		all[i] = sched_blocks_take(&p.blocks);
		assert_true(all[i] < N);
		for (int k = 0; k < i; k++)
			assert_int_not_equal(all[i], all[k]);
	}
	assert_int_equal(sched_blocks_take(&p.blocks), SCHED_BLOCK_NONE);
	pool_counts(&p, N, 0, 0);
	sched_blocks_ref(&p.blocks, all[2]);
	sched_blocks_ref(&p.blocks, all[2]);
	pool_counts(&p, N, 0, 1);
	sched_blocks_unref(&p.blocks, all[2]);
	pool_counts(&p, N, 0, 1);
	sched_blocks_unref(&p.blocks, all[2]);
	pool_counts(&p, N, 0, 0);
	assert_int_equal(p.blocks.returns, 0);
	/* Unlisted: free at once, and the next to be given. */
	sched_blocks_unref(&p.blocks, all[2]);
	pool_counts(&p, N - 1, 0, 0);
	assert_int_equal(p.blocks.returns, 1);
	assert_int_equal(sched_blocks_take(&p.blocks), all[2]);
	pool_fini(&p);
}

/* Cached blocks go in the order of their last use, and only when no free one is left. */
static void eviction(void **state)
{
	struct pool p;
	uint32_t b[N];

	(void)state;
	pool_init(&p);
	for (int i = 0; i < N; i++)
		b[i] = sched_blocks_take(&p.blocks);
	for (int i = 0; i < 4; i++)
		assert_true(sched_prefix_put(&p.index, p.key[i], b[i]));
	/* A sequence gives back from the last to the first. */
	for (int i = N - 1; i >= 0; i--)
		sched_blocks_unref(&p.blocks, b[i]);
	pool_counts(&p, 0, 4, 0);
	/* 2 and 3 are wanted again: they leave the list. */
	sched_blocks_ref(&p.blocks, b[2]);
	sched_blocks_ref(&p.blocks, b[3]);
	pool_counts(&p, 2, 2, 0);
	sched_blocks_unref(&p.blocks, b[3]);
	sched_blocks_unref(&p.blocks, b[2]);
	pool_counts(&p, 0, 4, 0);
	/* Free ones first (4 and 5), then by age: 1, 0, 3, 2. */
	for (int i = 0; i < 2; i++)
		assert_true(sched_blocks_take(&p.blocks) >= 4);
	assert_int_equal(sched_blocks_take(&p.blocks), b[1]);
	assert_int_equal(sched_prefix_find(&p.index, p.key[1]), SCHED_BLOCK_NONE);
	assert_int_equal(sched_prefix_find(&p.index, p.key[0]), b[0]);
	assert_int_equal(sched_blocks_take(&p.blocks), b[0]);
	assert_int_equal(sched_blocks_take(&p.blocks), b[3]);
	assert_int_equal(sched_blocks_take(&p.blocks), b[2]);
	assert_int_equal(sched_blocks_take(&p.blocks), SCHED_BLOCK_NONE);
	pool_counts(&p, N, 0, 0);
	pool_fini(&p);
}

static void forgetting(void **state)
{
	struct pool p;
	uint32_t a, b;

	(void)state;
	pool_init(&p);
	a = sched_blocks_take(&p.blocks);
	b = sched_blocks_take(&p.blocks);
	sched_prefix_put(&p.index, p.key[0], a);
	sched_prefix_put(&p.index, p.key[1], b);
	sched_blocks_unref(&p.blocks, b);
	pool_counts(&p, 1, 1, 0);
	sched_blocks_forget(&p.blocks, a); /* used: stays so, but nobody finds it */
	sched_blocks_forget(&p.blocks, b); /* cached: free now */
	sched_blocks_forget(&p.blocks, b);
	pool_counts(&p, 1, 0, 0);
	assert_int_equal(sched_prefix_find(&p.index, p.key[0]), SCHED_BLOCK_NONE);
	assert_int_equal(sched_prefix_find(&p.index, p.key[1]), SCHED_BLOCK_NONE);
	sched_blocks_unref(&p.blocks, a);
	pool_counts(&p, 0, 0, 0);
	pool_fini(&p);
}

/* --- the index --- */

static void keys(void **state)
{
	static const unsigned char salt[2][SCHED_SALT_BYTES] = {{1}, {2}};
	unsigned char root[2][SCHED_KEY_BYTES], a[SCHED_KEY_BYTES], b[SCHED_KEY_BYTES];
	int32_t text[ENG_BLOCK_TOKENS] = {0};
	struct sched_prefix p, other;

	(void)state;
	assert_int_equal(sched_prefix_init(&p, 10), 0);
	assert_int_equal(sched_prefix_init(&other, 10), 0);
	sched_prefix_root(&p, salt[0], root[0]);
	sched_prefix_root(&p, salt[1], root[1]);
	assert_memory_not_equal(root[0], root[1], SCHED_KEY_BYTES);
	sched_prefix_child(&p, root[0], text, a);
	sched_prefix_child(&p, root[1], text, b);
	assert_memory_not_equal(a, b, SCHED_KEY_BYTES); /* another salt */
	sched_prefix_child(&p, a, text, b);
	assert_memory_not_equal(a, b, SCHED_KEY_BYTES); /* the same text, one block on */
	text[ENG_BLOCK_TOKENS - 1] = 1;
	sched_prefix_child(&p, root[0], text, b);
	assert_memory_not_equal(a, b, SCHED_KEY_BYTES); /* the last token matters */
	text[ENG_BLOCK_TOKENS - 1] = 0;
	memcpy(b, root[0], SCHED_KEY_BYTES);
	sched_prefix_child(&p, b, text, b); /* in place */
	assert_memory_equal(a, b, SCHED_KEY_BYTES);
	sched_prefix_root(&other, salt[0], b);
	assert_memory_not_equal(root[0], b, SCHED_KEY_BYTES); /* another process */
	sched_prefix_fini(&other);
	sched_prefix_fini(&p);
}

/* Against a plain list, with keys whose homes collide. */
static void index_random(void **state)
{
	enum { BLOCKS = 64, KEYS = 200 };
	uint32_t held[KEYS], seed = 1;
	struct sched_prefix p;

	(void)state;
	assert_int_equal(sched_prefix_init(&p, BLOCKS), 0);
	for (int i = 0; i < KEYS; i++)
		held[i] = SCHED_BLOCK_NONE;
	for (int round = 0; round < 20000; round++) {
		unsigned char key[SCHED_KEY_BYTES] = {0};
		uint32_t k, block;

		seed = seed * 1664525 + 1013904223;
		k = (seed >> 8) % KEYS;
		block = (seed >> 16) % BLOCKS;
		key[0] = (unsigned char)(k % 9 * 14); /* nine homes, one at the table's end */
		key[12] = (unsigned char)k;
		assert_int_equal(sched_prefix_find(&p, key), held[k]);
		if (p.listed[block]) {
			for (int i = 0; i < KEYS; i++) {
				if (held[i] == block)
					held[i] = SCHED_BLOCK_NONE;
			}
			sched_prefix_drop(&p, block);
			sched_prefix_drop(&p, block);
		} else if (sched_prefix_put(&p, key, block)) {
			assert_int_equal(held[k], SCHED_BLOCK_NONE);
			held[k] = block;
		} else {
			assert_int_not_equal(held[k], SCHED_BLOCK_NONE);
		}
	}
	sched_prefix_fini(&p);
}

/* --- tenants --- */

static void tenants(void **state)
{
	struct sched_tenants t = {0};
	struct sched_tenant *a, *b, *c;

	(void)state;
	a = sched_tenant_enter(&t, 7);
	assert_ptr_equal(sched_tenant_enter(&t, 7), a);
	assert_int_equal(a->open, 2);
	a->served = 1000;
	/* Who is new starts level with those at work, not below. */
	b = sched_tenant_enter(&t, 9);
	assert_int_equal(b->served, 1000);
	b->served = 5000;
	sched_tenant_leave(b);
	/* A moment's absence forgives nothing. */
	b = sched_tenant_enter(&t, 9);
	assert_int_equal(b->served, 5000);
	sched_tenant_leave(b);
	/* A long one earns nothing. */
	a->served = 9000;
	c = sched_tenant_enter(&t, 11);
	assert_int_equal(c->served, 9000);
	b = sched_tenant_enter(&t, 9);
	assert_int_equal(b->served, 9000);
	/* With nobody at work all accounts are settled, and entries don't pile up. */
	sched_tenant_leave(a);
	sched_tenant_leave(a);
	sched_tenant_leave(b);
	sched_tenant_leave(c);
	for (uint32_t i = 0; i < 10000; i++)
		sched_tenant_leave(sched_tenant_enter(&t, i));
	assert_true(t.n <= 2);
	sched_tenants_fini(&t);
}

/* --- states --- */

static void move_aborts(enum sched_state from, enum sched_state to, bool aborts)
{
	struct sched_req req = {.id = 1};
	struct sched_seq q = {.req = &req, .state = from};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		close(STDERR_FILENO);
		sched_seq_move(&q, to);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, aborts);
}

static void states(void **state)
{
	(void)state;
	move_aborts(SCHED_STATE_QUEUED, SCHED_STATE_PREFILL, false);
	move_aborts(SCHED_STATE_QUEUED, SCHED_STATE_DECODE, true);
	move_aborts(SCHED_STATE_DECODE, SCHED_STATE_PREEMPTED, false);
	move_aborts(SCHED_STATE_ENDED, SCHED_STATE_QUEUED, true);
	assert_string_equal(sched_state_name(SCHED_STATE_JOINED), "joined");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references),	cmocka_unit_test(eviction),
		cmocka_unit_test(forgetting),	cmocka_unit_test(keys),
		cmocka_unit_test(index_random), cmocka_unit_test(tenants),
		cmocka_unit_test(states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
