/*
 * base/queue: order, bounds, waiting, stopping; between two threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/queue.h"

struct item {
	uint32_t value;
	uint64_t square;
	uint32_t more[3]; /* an odd size, so that a slip in the ring shows */
};

static struct item item_of(uint32_t v)
{
	return (struct item){.value = v, .square = (uint64_t)v * v, .more = {v, v + 1, v + 2}};
}

static void check_item(const struct item *i, uint32_t v)
{
	LT_ASSERT(i->value == v && i->square == (uint64_t)v * v && i->more[2] == v + 2);
}

static void order_and_bounds(void **state)
{
	struct lt_queue *q = lt_queue_open(5, sizeof(struct item));
	struct item in[8], out[8];
	uint32_t put = 0, got = 0;
	size_t n;

	(void)state;
	assert_non_null(q);
	assert_int_equal(lt_queue_pop(q, out, 8), 0);
	/* All fillings, round and round the ring. */
	for (size_t round = 0; round < 100; round++) {
		for (size_t i = 0; i < 8; i++)
			in[i] = item_of(put + (uint32_t)i);
		n = lt_queue_push(q, in, round % 9);
		assert_int_equal(n, round % 9 < 5 - (put - got) ? round % 9 : 5 - (put - got));
		put += (uint32_t)n;
		n = lt_queue_pop(q, out, round % 4);
		assert_int_equal(n, round % 4 < put - got ? round % 4 : put - got);
		for (size_t i = 0; i < n; i++)
			check_item(&out[i], got++);
	}
	assert_true(put > 50);
	lt_queue_close(q);
	lt_queue_close(NULL);
}

static void deadlines(void **state)
{
	struct lt_queue *q = lt_queue_open(1, sizeof(struct item));
	struct item i = item_of(1);
	uint64_t soon = lt_clock_ns() + 5 * LT_NS_PER_MS;

	(void)state;
	assert_true(lt_queue_wait_room(q, 0));
	assert_false(lt_queue_wait_item(q, 1)); /* long past */
	assert_false(lt_queue_wait_item(q, soon));
	assert_true(lt_clock_ns() >= soon);
	assert_int_equal(lt_queue_push(q, &i, 1), 1);
	assert_true(lt_queue_wait_item(q, 0));
	assert_false(lt_queue_wait_room(q, lt_clock_ns()));
	assert_int_equal(lt_queue_push(q, &i, 1), 0);
	/* Stopped: nothing goes in, what is there still comes out. */
	lt_queue_stop(q);
	assert_true(lt_queue_stopped(q));
	assert_false(lt_queue_wait_item(q, 0));
	assert_false(lt_queue_wait_room(q, 0));
	assert_int_equal(lt_queue_pop(q, &i, 1), 1);
	assert_int_equal(lt_queue_push(q, &i, 1), 0);
	lt_queue_close(q);
}

/* --- two threads --- */

#define MANY 200000u

struct pair {
	struct lt_queue *q;
	bool finished;
};

static void *produce(void *arg)
{
	struct pair *p = arg;
	struct item some[7];
	uint32_t next = 0;

	while (next < MANY) {
		size_t n = 1 + next % 7, done;
		for (size_t i = 0; i < n; i++)
			some[i] = item_of(next + (uint32_t)i);
		done = lt_queue_push(p->q, some, n < MANY - next ? n : MANY - next);
		next += (uint32_t)done;
		if (done == 0 && !lt_queue_wait_room(p->q, 0))
			return NULL;
	}
	p->finished = true;
	return NULL;
}

static void two_threads(void **state)
{
	struct pair p = {.q = lt_queue_open(64, sizeof(struct item))};
	struct item some[50];
	uint32_t next = 0;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, produce, &p), 0);
	while (next < MANY) {
		size_t n;
		assert_true(lt_queue_wait_item(p.q, 0));
		n = lt_queue_pop(p.q, some, 1 + next % 50);
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++)
			check_item(&some[i], next++);
	}
	pthread_join(t, NULL);
	assert_true(p.finished);
	lt_queue_close(p.q);
}

/* Stopping wakes a thread that waits for room and one that waits for an item. */
static void stop_wakes(void **state)
{
	struct pair p = {.q = lt_queue_open(3, sizeof(struct item))};
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, produce, &p), 0);
	assert_true(lt_queue_wait_item(p.q, 0));
	lt_queue_stop(p.q);
	pthread_join(t, NULL);
	assert_false(p.finished);
	lt_queue_close(p.q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_and_bounds),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(two_threads),
		cmocka_unit_test(stop_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
