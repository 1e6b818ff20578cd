/*
 * Merging: the pair of lowest rank first, the leftmost of equal ones, until no pair has a rank.
 *
 * Short pieces, which is nearly all of them, are merged in an array that shrinks, looking for the
 * lowest rank each time. Long ones use a heap of (rank, position) over a linked list; entries go
 * stale when their pair changes and are dropped when they come up. Nothing is allocated for a short
 * piece but room for its ids.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/bpe-table.h"

#define SHORT 48u /* where the heap begins to pay */
#define NONE  UINT32_MAX

void mdl_bpe_work_fini(struct mdl_bpe_work *w)
{
	free(w->id);
	free(w->rank);
	free(w->prev);
	free(w->next);
	free(w->heap);
	free(w->starts);
	free(w->dead);
	*w = (struct mdl_bpe_work){0};
}

/* ---- short pieces ---- */

/* Merges the bytes s[0..n), 0 < n <= SHORT, into ids, which has room for n; returns how many ids. */
static size_t merge_short(const struct mdl_bpe *b, struct mdl_bpe_work *w, const unsigned char *s,
			  size_t n, int32_t *ids)
{
	uint32_t ranks[SHORT];

	ids[0] = b->bytes[s[0]];
	for (size_t i = 1; i < n; i++) {
		ids[i] = b->bytes[s[i]];
		ranks[i - 1] = b->first[s[i - 1] << 8 | s[i]];
	}
	while (n > 1) {
		uint32_t best = ranks[0];
		size_t at = 0;

		for (size_t i = 1; i + 1 < n; i++) {
			if (ranks[i] < best) {
				best = ranks[i];
				at = i;
			}
		}
		if (best == MDL_BPE_NO_RANK)
			break;
		n--;
		w->last = best;
		ids[at] = (int32_t)b->merges[best].merged;
		memmove(ids + at + 1, ids + at + 2, (n - at - 1) * sizeof(*ids));
		memmove(ranks + at, ranks + at + 1, (n - at - 1) * sizeof(*ranks));
		if (at > 0)
			ranks[at - 1] = mdl_bpe_rank(b, (uint32_t)ids[at - 1], (uint32_t)ids[at]);
		if (at + 1 < n)
			ranks[at] = mdl_bpe_rank(b, (uint32_t)ids[at], (uint32_t)ids[at + 1]);
	}
	return n;
}

/* ---- long pieces ---- */

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
	uint64_t x = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= x)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = x;
}

static uint64_t heap_pop(struct mdl_bpe_work *w)
{
	uint64_t top = w->heap[0];

	w->heap[0] = w->heap[--w->n_heap];
	if (w->n_heap)
		sift_down(w->heap, w->n_heap, 0);
	return top;
}

static void heap_push(struct mdl_bpe_work *w, uint32_t rank, uint32_t at)
{
	uint64_t x = (uint64_t)rank << 32 | at;
	size_t i = w->n_heap++;

	while (i > 0 && w->heap[(i - 1) / 2] > x) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = x;
}

static int grow(uint32_t **p, size_t n)
{
	free(*p);
	*p = lt_alloc(n, sizeof(**p));
	return *p ? 0 : LT_ENOMEM;
}

/* Room for a piece of n bytes. A merge takes an entry off the heap and adds two at most, so there
 * are never more than 2 n. */
static int work_reserve(struct mdl_bpe_work *w, size_t n)
{
	if (w->cap >= n)
		return 0;
	w->cap = 0;
	if (grow(&w->id, n) < 0 || grow(&w->rank, n) < 0 || grow(&w->prev, n) < 0 ||
	    grow(&w->next, n) < 0 || lt_reserve(&w->heap, &w->heap_cap, 2 * n, 8) < 0)
		return LT_ENOMEM;
	w->cap = n;
	return 0;
}

/* Sets the rank of the pair that begins at `at`. */
static void renew_pair(const struct mdl_bpe *b, struct mdl_bpe_work *w, uint32_t at)
{
	uint32_t next = w->next[at], rank = MDL_BPE_NO_RANK;

	if (next != NONE)
		rank = mdl_bpe_rank(b, w->id[at], w->id[next]);
	w->rank[at] = rank;
	if (rank != MDL_BPE_NO_RANK)
		heap_push(w, rank, at);
}

static void merge_long(const struct mdl_bpe *b, struct mdl_bpe_work *w, const unsigned char *s,
		       uint32_t n)
{
	w->n_heap = 0;
	for (uint32_t i = 0; i < n; i++) {
		w->id[i] = (uint32_t)b->bytes[s[i]];
		w->prev[i] = i - 1;
		w->next[i] = i + 1 < n ? i + 1 : NONE;
		w->rank[i] = i + 1 < n ? b->first[s[i] << 8 | s[i + 1]] : MDL_BPE_NO_RANK;
		if (w->rank[i] != MDL_BPE_NO_RANK)
			w->heap[w->n_heap++] = (uint64_t)w->rank[i] << 32 | i;
	}
	for (size_t i = w->n_heap / 2; i-- > 0;)
		sift_down(w->heap, w->n_heap, i);
	while (w->n_heap) {
		uint64_t top = heap_pop(w);
		uint32_t at = (uint32_t)top, rank = (uint32_t)(top >> 32), gone;

		if (w->rank[at] != rank)
			continue;
		w->last = rank;
		gone = w->next[at];
		w->id[at] = b->merges[rank].merged;
		w->rank[gone] = MDL_BPE_NO_RANK;
		w->next[at] = w->next[gone];
		if (w->next[at] != NONE)
			w->prev[w->next[at]] = at;
		if (at > 0)
			renew_pair(b, w, w->prev[at]);
		renew_pair(b, w, at);
	}
}

int mdl_bpe_merge(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		  struct mdl_ids *out)
{
	const unsigned char *bytes = (const unsigned char *)s;
	size_t most;

	if (n <= SHORT) {
		if (!lt_add(out->n, n, &most) ||
		    lt_reserve(&out->data, &out->cap, most, sizeof(*out->data)) < 0)
			return LT_ENOMEM;
		out->n += merge_short(b, w, bytes, n, out->data + out->n);
		return 0;
	}
	if (n >= NONE / 2)
		return LT_ETOOBIG;
	if (work_reserve(w, n) < 0)
		return LT_ENOMEM;
	merge_long(b, w, bytes, (uint32_t)n);
	for (uint32_t i = 0; i != NONE; i = w->next[i]) {
		if (mdl_ids_add(out, (int32_t)w->id[i]) < 0)
			return LT_ENOMEM;
	}
	return 0;
}
