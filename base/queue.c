/*
 * The ring. `head` is where the oldest item lies; both condition variables run on the monotonic
 * clock, so that a change of the wall clock moves no deadline. Any thread may call anything but
 * open and close.
 */
#include "base/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"

struct lt_queue {
	pthread_mutex_t lock;
	pthread_cond_t item, room;
	size_t capacity, size; /* items, bytes of one */
	size_t head, count;
	bool stopped;
	unsigned char *ring; // [capacity][size]
};

static int cond_open(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	int rc;

	if (pthread_condattr_init(&attr) != 0)
		return LT_ENOMEM;
	rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (rc == 0)
		rc = pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
	return rc == 0 ? 0 : LT_ENOMEM;
}

struct lt_queue *lt_queue_open(size_t capacity, size_t size)
{
	struct lt_queue *q = lt_alloc(1, sizeof(*q));

	LT_ASSERT(capacity > 0 && size > 0);
	if (!q)
		return NULL;
	q->capacity = capacity;
	q->size = size;
	q->ring = lt_alloc(capacity, size);
	if (!q->ring)
		goto no_ring;
	if (pthread_mutex_init(&q->lock, NULL) != 0)
		goto no_lock;
	if (cond_open(&q->item) < 0)
		goto no_item;
	if (cond_open(&q->room) < 0)
		goto no_room;
	return q;
no_room:
	pthread_cond_destroy(&q->item);
no_item:
	pthread_mutex_destroy(&q->lock);
no_lock:
	free(q->ring);
no_ring:
	free(q);
	return NULL;
}

void lt_queue_close(struct lt_queue *q)
{
	if (!q)
		return;
	pthread_cond_destroy(&q->room);
	pthread_cond_destroy(&q->item);
	pthread_mutex_destroy(&q->lock);
	free(q->ring);
	free(q);
}

/* How many of `n` items from index `at` lie before the ring's end. */
static size_t run(const struct lt_queue *q, size_t at, size_t n)
{
	return n < q->capacity - at ? n : q->capacity - at;
}

size_t lt_queue_push(struct lt_queue *q, const void *items, size_t n)
{
	const unsigned char *src = items;
	size_t at, first;

	pthread_mutex_lock(&q->lock);
	if (q->stopped)
		n = 0;
	if (n > q->capacity - q->count)
		n = q->capacity - q->count;
	if (n > 0) {
		at = (q->head + q->count) % q->capacity;
		first = run(q, at, n);
		memcpy(q->ring + at * q->size, src, first * q->size);
		memcpy(q->ring, src + first * q->size, (n - first) * q->size);
		q->count += n;
		pthread_cond_broadcast(&q->item);
	}
	pthread_mutex_unlock(&q->lock);
	return n;
}

size_t lt_queue_pop(struct lt_queue *q, void *items, size_t max)
{
	unsigned char *dst = items;
	size_t n, first;

	pthread_mutex_lock(&q->lock);
	n = max < q->count ? max : q->count;
	if (n > 0) {
		first = run(q, q->head, n);
		memcpy(dst, q->ring + q->head * q->size, first * q->size);
		memcpy(dst + first * q->size, q->ring, (n - first) * q->size);
		q->head = (q->head + n) % q->capacity;
		q->count -= n;
		pthread_cond_broadcast(&q->room);
	}
	pthread_mutex_unlock(&q->lock);
	return n;
}

/* Sleeps on c while the queue holds exactly `count` items; true when it no longer does. */
static bool wait_while(struct lt_queue *q, pthread_cond_t *c, size_t count, uint64_t deadline_ns)
{
	struct timespec at = {.tv_sec = (time_t)(deadline_ns / LT_NS_PER_S),
			      .tv_nsec = (long)(deadline_ns % LT_NS_PER_S)};
	bool changed;
	int rc = 0;

	pthread_mutex_lock(&q->lock);
	while (q->count == count && !q->stopped && rc == 0) {
		if (deadline_ns)
			rc = pthread_cond_timedwait(c, &q->lock, &at);
		else
			rc = pthread_cond_wait(c, &q->lock);
	}
	changed = q->count != count && !q->stopped;
	pthread_mutex_unlock(&q->lock);
	return changed;
}

bool lt_queue_wait_item(struct lt_queue *q, uint64_t deadline_ns)
{
	return wait_while(q, &q->item, 0, deadline_ns);
}

bool lt_queue_wait_room(struct lt_queue *q, uint64_t deadline_ns)
{
	return wait_while(q, &q->room, q->capacity, deadline_ns);
}

void lt_queue_stop(struct lt_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopped = true;
	pthread_cond_broadcast(&q->item);
	pthread_cond_broadcast(&q->room);
	pthread_mutex_unlock(&q->lock);
}

bool lt_queue_stopped(struct lt_queue *q)
{
	bool stopped;

	pthread_mutex_lock(&q->lock);
	stopped = q->stopped;
	pthread_mutex_unlock(&q->lock);
	return stopped;
}
