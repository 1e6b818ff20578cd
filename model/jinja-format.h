/*
 * One value in one style: what "%5.1f" and "{:>5}" have in common (private to model/).
 */
#ifndef LT_MODEL_JINJA_FORMAT_H
#define LT_MODEL_JINJA_FORMAT_H

#include "model/jinja-text.h"

enum { MDL_J_MAX_PRECISION = 150, MDL_J_MAX_WIDTH = 1000000 };

/* What one conversion asks for. */
struct mdl_jstyle {
	struct mdl_jval fill; /* STR of one character, or MISSING: a space */
	char align;	      /* < > ^ = or 0 */
	char sign;	      /* + or space or 0 */
	char group;	      /* , or _ or 0 */
	bool alternate, zero;
	int64_t width, precision; /* precision: -1 if not given */
	char type;		  /* d x f s ... or 0 if not given */
};

int mdl_jfmt_int(struct mdl_jrun *r, struct mdl_jsb *sb, int64_t v, const struct mdl_jstyle *style);
int mdl_jfmt_float(struct mdl_jrun *r, struct mdl_jsb *sb, double f,
		   const struct mdl_jstyle *style);
/* The text of v, cut to the precision, padded. */
int mdl_jfmt_text(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v,
		  const struct mdl_jstyle *style);
int mdl_jfmt_repr(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jval *out);

#endif
