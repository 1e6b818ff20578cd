/*
 * Stop strings over a stream of text pieces (private to api/, and used by its tests).
 *
 * The stream ends at the first moment when the text so far ends with a stop string; of several that
 * end there the longest counts. Nothing of it is ever shown: text that may be the beginning of a stop
 * string is held back until it is clear. So the result does not depend on how the text was cut into
 * pieces. One Knuth-Morris-Pratt automaton for each string: constant work for each byte.
 *
 * A set is immutable and may be shared; a struct api_stopper is caller memory with one owner.
 */
#ifndef LT_API_STOP_H
#define LT_API_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/request.h"
#include "base/buf.h"

struct api_stops;

/* Compiles n (0..API_MAX_STOPS) non-empty strings, which are borrowed: they must outlive the set. 0 or
 * LT_ENOMEM. */
int api_stops_open(const struct api_str *list, size_t n, struct api_stops **out);
void api_stops_close(struct api_stops *s); /* NULL is fine */

struct api_stopper {
	const struct api_stops *set;	 /* NULL: nothing stops */
	uint32_t matched[API_MAX_STOPS]; /* how much of each string the text ends with */
	uint32_t held, holder;		 /* bytes held back: the beginning of string `holder` */
	bool hit;
};

void api_stopper_init(struct api_stopper *s, const struct api_stops *set);
/* Appends to `out` what may be shown after text[0..n) came. Nothing once s->hit. 0 or the buffer's
 * code. */
int api_stopper_push(struct api_stopper *s, const char *text, size_t n, struct lt_buf *out);
/* The end of the text: what is held back comes out. */
int api_stopper_flush(struct api_stopper *s, struct lt_buf *out);

#endif
