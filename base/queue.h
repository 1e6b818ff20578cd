/*
 * A bounded queue of fixed-size items between threads: a ring under one mutex, with a condition
 * variable for each side, so that nobody polls. Items are copied in and out, many at a time, under
 * one lock. The queue knows nothing of what items point to: after lt_queue_stop, whoever closes it
 * pops what is left and frees that.
 */
#ifndef LT_BASE_QUEUE_H
#define LT_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_queue;

/* An empty queue of at most `capacity` (1..) items of `size` bytes. NULL without memory. */
struct lt_queue *lt_queue_open(size_t capacity, size_t size);
void lt_queue_close(struct lt_queue *q); /* nobody may use or wait for it any more; NULL is fine */

/* Adds as many of items[0..n) as there is room for; returns how many (0 after lt_queue_stop). */
size_t lt_queue_push(struct lt_queue *q, const void *items, size_t n);

/* Takes up to max items, oldest first; returns how many. Works after lt_queue_stop, too. */
size_t lt_queue_pop(struct lt_queue *q, void *items, size_t max);

/* Sleep until there is an item, or room for one; true if so. False when the queue was stopped or
 * deadline_ns (lt_clock_ns; 0: none) has passed. */
bool lt_queue_wait_item(struct lt_queue *q, uint64_t deadline_ns);
bool lt_queue_wait_room(struct lt_queue *q, uint64_t deadline_ns);

/* Wakes all who wait; from now on pushes add nothing and waits don't sleep. */
void lt_queue_stop(struct lt_queue *q);
bool lt_queue_stopped(struct lt_queue *q);

#endif
