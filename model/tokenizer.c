/*
 * The public face of tokenizers: opening, encoding, decoding.
 *
 * A tokenizer is immutable but for a pool of working memory: each encode takes a piece of it (or
 * makes one) and puts it back, so that any number of threads may encode and short texts allocate
 * nothing but their ids.
 */
#include "model/tokenizer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/gguf.h"
#include "model/tok.h"

#define POOL_MAX 64u	    /* kept; more threads than that at once make their own */
#define KEEP_MAX (1u << 16) /* longest piece whose working memory is kept, bytes */

struct work {
	struct work *next;
	struct mdl_pretok_work pretok;
	struct mdl_bpe_work bpe;
	struct mdl_span *spans;
	size_t spans_cap;
};

struct mdl_tok_pool {
	pthread_mutex_t lock;
	struct work *free;
	size_t n;
};

int mdl_ids_add(struct mdl_ids *ids, int32_t id)
{
	if (ids->n == ids->cap &&
	    lt_reserve(&ids->data, &ids->cap, ids->n + 1, sizeof(*ids->data)) < 0)
		return LT_ENOMEM;
	ids->data[ids->n++] = id;
	return 0;
}

void mdl_ids_fini(struct mdl_ids *ids)
{
	free(ids->data);
	*ids = (struct mdl_ids){0};
}

/* ---- the pool ---- */

static void work_close(struct work *w)
{
	mdl_pretok_work_fini(&w->pretok);
	mdl_bpe_work_fini(&w->bpe);
	free(w->spans);
	free(w);
}

static struct work *work_take(struct mdl_tok_pool *pool)
{
	struct work *w;

	pthread_mutex_lock(&pool->lock);
	w = pool->free;
	if (w) {
		pool->free = w->next;
		pool->n--;
	}
	pthread_mutex_unlock(&pool->lock);
	return w ? w : lt_alloc(1, sizeof(*w));
}

static void work_put(struct mdl_tok_pool *pool, struct work *w)
{
	bool keep;

	if (w->bpe.cap > KEEP_MAX || w->bpe.starts_cap > KEEP_MAX)
		mdl_bpe_work_fini(&w->bpe);
	if (w->pretok.spaced.cap > KEEP_MAX)
		lt_buf_fini(&w->pretok.spaced);
	pthread_mutex_lock(&pool->lock);
	keep = pool->n < POOL_MAX;
	if (keep) {
		w->next = pool->free;
		pool->free = w;
		pool->n++;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		work_close(w);
}

static void pool_close(struct mdl_tok_pool *pool)
{
	if (!pool)
		return;
	while (pool->free) {
		struct work *w = pool->free;

		pool->free = w->next;
		work_close(w);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* ---- opening ---- */

static bool is_control(const void *arg, int32_t id)
{
	const struct mdl_added_token *a = mdl_added_by_id(arg, id);

	return a && a->special;
}

/* An added token may stand in the vocabulary, too, but then it is the same there. */
static int check_added(const struct mdl_tok *t, struct lt_err *err)
{
	for (size_t i = 0; i < t->added.n; i++) {
		const struct mdl_added_token *a = &t->added.tokens[i];
		int32_t id = mdl_bpe_id(&t->bpe, a->text, a->n);

		if (id >= 0 && id != a->id)
			return lt_fail(err, LT_EFORMAT,
				       "added token '%.*s' has id %d, in the vocabulary it is %d",
				       (int)(a->n < 80 ? a->n : 80), a->text, a->id, id);
	}
	return 0;
}

static int seal(struct mdl_tok *t, struct lt_err *err)
{
	int rc = mdl_added_seal(&t->added, err);

	if (rc == 0)
		rc = check_added(t, err);
	if (rc == 0)
		rc = mdl_bpe_seal(&t->bpe, is_control, &t->added, err);
	if (rc == 0)
		rc = mdl_pretok_seal(&t->pretok, err);
	t->count = (uint32_t)t->bpe.n_ids;
	if (t->added.n && (uint32_t)t->added.tokens[t->added.n - 1].id >= t->count)
		t->count = (uint32_t)t->added.tokens[t->added.n - 1].id + 1;
	return rc;
}

int mdl_tok_open(const char *path, struct mdl_tok **out, struct lt_err *err)
{
	struct mdl_tok *t = lt_alloc(1, sizeof(*t));
	int rc = 0;

	if (!t)
		return lt_fail(err, LT_ENOMEM, "no memory for a tokenizer");
	t->bos = t->eos = -1;
	t->pool = lt_alloc(1, sizeof(*t->pool));
	if (!t->pool || mdl_bpe_init(&t->bpe) < 0)
		rc = lt_fail(err, LT_ENOMEM, "no memory for a tokenizer");
	if (t->pool)
		pthread_mutex_init(&t->pool->lock, NULL);
	if (rc == 0)
		rc = !lt_is_dir(path) && mdl_gguf_is(path) ? mdl_tok_read_gguf(t, path, err)
							   : mdl_tok_read_json(t, path, err);
	if (rc == 0 && (rc = seal(t, err)) < 0)
		lt_fail_in(err, rc, "tokenizer of %s", path);
	if (rc < 0) {
		mdl_tok_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void mdl_tok_close(struct mdl_tok *t)
{
	if (!t)
		return;
	pool_close(t->pool);
	mdl_bpe_fini(&t->bpe);
	mdl_pretok_fini(&t->pretok);
	mdl_added_fini(&t->added);
	free(t);
}

/* ---- asking ---- */

uint32_t mdl_tok_count(const struct mdl_tok *t)
{
	return t->count;
}

int32_t mdl_tok_bos(const struct mdl_tok *t)
{
	return t->bos;
}

int32_t mdl_tok_eos(const struct mdl_tok *t)
{
	return t->eos;
}

bool mdl_tok_add_bos(const struct mdl_tok *t)
{
	return t->add_bos;
}

int32_t mdl_tok_id(const struct mdl_tok *t, const char *text, size_t n)
{
	const struct mdl_added_token *a = mdl_added_by_text(&t->added, text, n);
	int32_t id = a ? a->id : mdl_bpe_find(&t->bpe, text, n);

	return id >= 0 ? id : mdl_bpe_find_raw(&t->bpe, text, n);
}

bool mdl_tok_is_special(const struct mdl_tok *t, int32_t id)
{
	return is_control(&t->added, id);
}

const char *mdl_tok_bytes(const struct mdl_tok *t, int32_t id, size_t *n)
{
	const struct mdl_added_token *a = mdl_added_by_id(&t->added, id);

	*n = 0;
	if (a) {
		*n = a->n;
		return a->text;
	}
	if (id < 0 || (size_t)id >= t->bpe.n_ids || t->bpe.tokens[id].len == 0)
		return NULL;
	*n = t->bpe.tokens[id].len;
	return t->bpe.arena + t->bpe.tokens[id].at;
}

/* ---- encoding ---- */

struct encode {
	const struct mdl_tok *t;
	struct work *w;
	const char *text;
	size_t n;
	const struct mdl_span *trusted; /* [n_trusted] sorted, not touching */
	size_t n_trusted;
	struct mdl_ids *out;
	struct lt_err *err;
};

static int encode_piece(void *arg, const char *s, size_t n)
{
	struct encode *e = arg;
	int rc = mdl_bpe_encode(&e->t->bpe, &e->w->bpe, s, n, e->out);

	if (rc == LT_ETOOBIG)
		return lt_fail(e->err, rc, "a word of %zu bytes", n);
	return rc < 0 ? lt_fail(e->err, rc, "no memory to encode a text") : 0;
}

/* Text without added tokens: well-formed stretches go through the pre-tokenizer, malformed bytes
 * become their tokens one by one. */
static int encode_plain(struct encode *e, size_t start, size_t end)
{
	const char *s = e->text + start;
	size_t n = end - start, good;
	int rc = 0;

	while (n && rc == 0) {
		if (lt_utf8_valid(s, n, &good))
			good = n;
		rc = mdl_pretok_run(&e->t->pretok, &e->w->pretok, s, good, encode_piece, e, e->err);
		s += good;
		n -= good;
		if (n && rc == 0) {
			rc = encode_piece(e, s, 1);
			s++;
			n--;
		}
	}
	return rc;
}

/* Added tokens are cut out in two passes: those marked `normalized` only in what the others left. */
static int encode_stretch(struct encode *e, bool normalized, size_t start, size_t end)
{
	size_t begin = normalized ? start : 0, from, to;
	int rc = 0;

	while (rc == 0) {
		const struct mdl_added_token *a =
			mdl_added_find(&e->t->added, normalized, e->text, begin, end, start,
				       e->trusted, e->n_trusted, &from, &to);

		if (!a)
			break;
		if (from > start)
			rc = normalized ? encode_plain(e, start, from)
					: encode_stretch(e, true, start, from);
		if (rc == 0 && mdl_ids_add(e->out, a->id) < 0)
			rc = lt_fail(e->err, LT_ENOMEM, "no memory to encode a text");
		start = to;
	}
	if (rc == 0 && start < end)
		rc = normalized ? encode_plain(e, start, end) : encode_stretch(e, true, start, end);
	return rc;
}

int mdl_tok_encode(const struct mdl_tok *t, const char *text, size_t n, bool trusted,
		   struct mdl_ids *out, struct lt_err *err)
{
	struct mdl_part whole = {0, n, trusted};

	return mdl_tok_encode_parts(t, text, n, &whole, 1, out, err);
}

/* Joins the trusted parts that touch. */
static int collect_spans(struct work *w, size_t n, const struct mdl_part *parts, size_t n_parts,
			 size_t *n_spans, struct lt_err *err)
{
	size_t last = 0, k = 0;

	if (lt_reserve(&w->spans, &w->spans_cap, n_parts, sizeof(*w->spans)) < 0)
		return lt_fail(err, LT_ENOMEM, "no memory to encode a text");
	for (size_t i = 0; i < n_parts; i++) {
		const struct mdl_part *p = &parts[i];

		if (p->start < last || p->start > n || p->len > n - p->start)
			return lt_fail(err, LT_EINVAL,
				       "part %zu of a text is out of order or beyond its end", i);
		last = p->start + p->len;
		if (!p->trusted || p->len == 0)
			continue;
		if (k && w->spans[k - 1].end == p->start)
			w->spans[k - 1].end = last;
		else
			w->spans[k++] = (struct mdl_span){p->start, last};
	}
	*n_spans = k;
	return 0;
}

int mdl_tok_encode_parts(const struct mdl_tok *t, const char *text, size_t n,
			 const struct mdl_part *parts, size_t n_parts, struct mdl_ids *out,
			 struct lt_err *err)
{
	struct encode e = {.t = t, .text = text, .n = n, .out = out, .err = err};
	size_t before = out->n;
	int rc;

	e.w = work_take(t->pool);
	if (!e.w)
		return lt_fail(err, LT_ENOMEM, "no memory to encode a text");
	rc = collect_spans(e.w, n, parts, n_parts, &e.n_trusted, err);
	e.trusted = e.w->spans;
	if (rc == 0)
		rc = encode_stretch(&e, false, 0, n);
	if (rc < 0)
		out->n = before;
	work_put(t->pool, e.w);
	return rc;
}

/* ---- decoding ---- */

int mdl_tok_decode(const struct mdl_tok *t, const int32_t *ids, size_t n, bool special,
		   struct lt_buf *out, struct lt_err *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t len;
		const char *bytes = mdl_tok_bytes(t, ids[i], &len);

		if (!bytes)
			return lt_fail(err, LT_EINVAL, "no token has id %d", ids[i]);
		if (!special && mdl_tok_is_special(t, ids[i]))
			continue;
		if (lt_buf_add(out, bytes, len) < 0)
			return lt_fail(err, out->failed, "no memory for a decoded text");
	}
	return 0;
}
