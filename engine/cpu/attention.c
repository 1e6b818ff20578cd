/*
 * Multi-head latent attention in its two forms (formulas: engine/blas/attention.c). Both see the cache
 * through its rounding and in chunks of CPU_CHUNK keys that begin at multiples of CPU_CHUNK; chunks are
 * joined in order. So a row's result depends on its position alone, whoever computes which chunk.
 *
 * absorbed: the lanes are 16 heads of one row, keys are the latents as they lie in the cache.
 * expanded: the lanes are 16 rows of one head, keys and values are made from the latents once for all
 * rows of a span.
 */
#include <string.h>

#include "engine/cpu/cpu.h"
#include "model/tensor.h"

#define STATE 32u /* floats before the values in a partial result: m [16], l [16] */

static size_t min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t even(size_t n)
{
	return (n + 1) / 2 * 2;
}

/* s->at: a chunk's n latents as float32 (cache type F32) or bfloat16 rows, in the cache itself or
 * multiplied out from Q8. */
static void chunk_latents(struct cpu *b, uint32_t layer, const uint32_t *blocks, size_t first,
			  uint32_t n, struct cpu_scratch *s)
{
	const struct eng_cache *cache = &b->cache;

	for (uint32_t i = 0; i < n; i++) {
		uint16_t *row = s->latents + i * even(cache->width);
		struct eng_cache_q8 q8;

		s->at[i] = eng_cache_at(cache, layer, blocks, (uint32_t)(first + i));
		if (cache->type != ENG_CACHE_Q8)
			continue;
		q8 = eng_cache_q8(cache, s->at[i]);
		b->isa->codes_to_bf16(q8.code, q8.scale, cache->latent, row);
		memcpy(row + cache->latent, q8.key, (cache->width - cache->latent) * sizeof(*row));
		s->at[i] = row;
	}
}

/* ---- absorbed ------------------------------------------------------------------------------- */

struct absorbed {
	struct cpu *b;
	const struct cpu_layer *l;
	uint32_t layer;
	size_t row, n; /* rows [row, row + n), n <= CPU_ABSORBED_ROWS */
	size_t chunks; /* of the longest row; 0: a task does all chunks of its item */
};

/* Rows x [n], ld apart, of one head in the form that m reads; s->at gets the pointers. */
static void head_rows(const struct cpu_mat *m, const float *x, size_t ld, size_t n,
		      struct cpu_scratch *s)
{
	size_t wide = even(m->cols);
	float *to = s->head_x;

	LT_ASSERT(cpu_act_of(m->format) == CPU_ACT_F32);
	for (size_t r = 0; r < n; r++, to += wide) {
		memcpy(to, x + r * ld, m->cols * sizeof(*x));
		if (m->cols % 2)
			to[m->cols] = 0;
		s->at[r] = to;
	}
}

static void all_panels(const struct cpu *b, const struct cpu_mat *m, const void *const *x, size_t n,
		       float *y, size_t ldy)
{
	b->isa->product[m->format](m, 0, m->panels, x, n, y, ldy);
}

/* Lane `lane` of a panel of queries := q [cols], from column `from` on. */
static void put_query(const struct cpu *b, unsigned char *panel, unsigned lane, const float *q,
		      size_t from, size_t cols)
{
	for (size_t c = 0; c < cols; c++) {
		size_t i = from + c;
		uint16_t h = mdl_f32_bf16(q[c]);

		if (b->cache.type == ENG_CACHE_F32)
			memcpy(panel + (i * 16 + lane) * 4, &q[c], 4);
		else
			memcpy(panel + ((i / 2 * 16 + lane) * 2 + i % 2) * 2, &h, 2);
	}
}

static unsigned char *query_of(const struct cpu *b, size_t row, size_t group)
{
	size_t value = b->cache.type == ENG_CACHE_F32 ? 4 : 2;
	size_t width = even(b->cache.width);

	return b->queries + (row * b->head_groups + group) * width * 16 * value;
}

/* Task h: [W_UK^T q_n | q_r] of head h into the rows' panels. */
static void absorb_task(void *arg, size_t h, uint32_t worker)
{
	const struct absorbed *a = arg;
	struct cpu *b = a->b;
	const struct mdl_config *c = b->c;
	size_t dn = c->qk_nope, dr = c->qk_rope, rk = c->kv_rank, ldq = c->heads * (dn + dr);
	const float *q = b->q + a->row * ldq + h * (dn + dr);
	struct cpu_scratch *s = &b->scratch[worker];

	head_rows(&a->l->k_t[h], q, ldq, a->n, s);
	all_panels(b, &a->l->k_t[h], s->at, a->n, s->floats, rk);
	for (size_t r = 0; r < a->n; r++) {
		unsigned char *panel = query_of(b, r, h / 16);

		put_query(b, panel, h % 16, s->floats + r * rk, 0, rk);
		put_query(b, panel, h % 16, q + r * ldq + dn, rk, dr);
	}
}

/* One chunk's part of item (row, group of heads): part [STATE + rk * 16]. */
static void absorbed_chunk(const struct absorbed *a, size_t item, size_t chunk,
			   struct cpu_scratch *s, float *part)
{
	struct cpu *b = a->b;
	size_t r = item / b->head_groups, rk = b->c->kv_rank, first = chunk * CPU_CHUNK;
	const struct cpu_row *row = &b->rows[a->row + r];
	uint32_t n = (uint32_t)min_of(row->pos + 1 - first, CPU_CHUNK);
	bool f32 = b->cache.type == ENG_CACHE_F32;
	int32_t limit[16];
	struct cpu_attend at = {.q = query_of(b, r, item % b->head_groups),
				.width = b->cache.width,
				.dv = (uint32_t)rk,
				.k = s->at,
				.v = s->values,
				.n = n,
				.limit = limit,
				.scale = b->rope.softmax_scale,
				.scores = s->scores,
				.m = part,
				.l = part + 16,
				.u = part + STATE};

	for (uint32_t i = 0; i < 16; i++)
		limit[i] = (int32_t)n;
	chunk_latents(b, a->layer, row->span->blocks, first, n, s);
	for (uint32_t i = 0; f32 && i < n; i++)
		memcpy(s->values + i * rk * 4, s->at[i], rk * 4);
	for (uint32_t i = 0; !f32 && i < n; i += 2)
		b->isa->zip(s->at[i], i + 1 < n ? s->at[i + 1] : s->zeros, rk,
			    (uint16_t *)(void *)s->values + i * rk);
	if (f32)
		b->isa->attend_f32(&at);
	else
		b->isa->attend_bf16(&at);
}

static size_t part_floats(const struct cpu *b)
{
	return STATE + (size_t)b->c->kv_rank * 16;
}

static void join(const struct cpu *b, float *whole, const float *part, uint32_t dv)
{
	b->isa->merge(whole, whole + 16, whole + STATE, part, part + 16, part + STATE, dv);
}

/* The heads' mixed latents of an item, from its whole result. */
static void put_mixed(const struct absorbed *a, size_t item, const float *whole)
{
	struct cpu *b = a->b;
	size_t r = item / b->head_groups, head = item % b->head_groups * 16, rk = b->c->kv_rank;

	b->isa->untangle(whole + STATE, whole + 16, rk, b->mixed + (r * b->c->heads + head) * rk,
			 rk, (unsigned)min_of(16, b->c->heads - head));
}

static size_t chunks_of(const struct cpu *b, size_t row)
{
	return b->rows[row].pos / CPU_CHUNK + 1;
}

/* Task item: all of its chunks, one after the other. */
static void item_task(void *arg, size_t item, uint32_t worker)
{
	const struct absorbed *a = arg;
	struct cpu *b = a->b;
	struct cpu_scratch *s = &b->scratch[worker];
	float *whole = s->part, *part = s->part + part_floats(b);
	size_t chunks = chunks_of(b, a->row + item / b->head_groups);

	absorbed_chunk(a, item, 0, s, whole);
	for (size_t k = 1; k < chunks; k++) {
		absorbed_chunk(a, item, k, s, part);
		join(b, whole, part, b->c->kv_rank);
	}
	put_mixed(a, item, whole);
}

/* Task (item, chunk), where items alone are too few for the threads. */
static void chunk_task(void *arg, size_t i, uint32_t worker)
{
	const struct absorbed *a = arg;
	struct cpu *b = a->b;
	size_t item = i / a->chunks, chunk = i % a->chunks;

	if (chunk < chunks_of(b, a->row + item / b->head_groups))
		absorbed_chunk(a, item, chunk, &b->scratch[worker], b->parts + i * part_floats(b));
}

static void join_task(void *arg, size_t item, uint32_t worker)
{
	const struct absorbed *a = arg;
	struct cpu *b = a->b;
	float *parts = b->parts + item * a->chunks * part_floats(b);
	size_t chunks = chunks_of(b, a->row + item / b->head_groups);

	(void)worker;
	for (size_t k = 1; k < chunks; k++)
		join(b, parts, parts + k * part_floats(b), b->c->kv_rank);
	put_mixed(a, item, parts);
}

/* Task h: W_UV of the mixed latents. */
static void project_task(void *arg, size_t h, uint32_t worker)
{
	const struct absorbed *a = arg;
	struct cpu *b = a->b;
	size_t rk = b->c->kv_rank, dv = b->c->v_head, ldo = b->c->heads * dv;
	struct cpu_scratch *s = &b->scratch[worker];

	head_rows(&a->l->v[h], b->mixed + h * rk, b->c->heads * rk, a->n, s);
	all_panels(b, &a->l->v[h], s->at, a->n, b->attn + a->row * ldo + h * dv, ldo);
}

static void attend_absorbed(struct absorbed *a)
{
	struct cpu *b = a->b;
	size_t items = a->n * b->head_groups, longest = 0;

	for (size_t r = 0; r < a->n; r++)
		longest = chunks_of(b, a->row + r) > longest ? chunks_of(b, a->row + r) : longest;
	eng_workers_run(b->workers, b->c->heads, absorb_task, a);
	if (items < 4 * (size_t)b->threads && longest > 1 && items * longest <= b->n_parts) {
		a->chunks = longest;
		eng_workers_run(b->workers, items * longest, chunk_task, a);
		eng_workers_run(b->workers, items, join_task, a);
	} else {
		eng_workers_run(b->workers, items, item_task, a);
	}
	eng_workers_run(b->workers, b->c->heads, project_task, a);
}

/* ---- expanded ------------------------------------------------------------------------------- */

struct expanded {
	struct cpu *b;
	const struct cpu_layer *l;
	uint32_t layer;
	size_t row, n; /* rows of one span, at most ENG_SPAN_TOKENS */
};

/* Keys [n, dn + dr] and values (pairs of keys) of head h, bfloat16; then s->at points to the keys. */
static void expand(const struct expanded *e, size_t h, struct cpu_scratch *s, uint32_t n)
{
	struct cpu *b = e->b;
	size_t dn = b->c->qk_nope, dr = b->c->qk_rope, dv = b->c->v_head, rk = b->c->kv_rank;
	size_t dk = even(dn + dr);
	uint16_t *pair = s->latents + CPU_CHUNK * even(rk + dr); // [2, dv]

	all_panels(b, &e->l->v_many[h], s->at, n, s->floats, dv);
	for (uint32_t i = 0; i < n; i += 2) {
		b->isa->to_bf16(s->floats + i * dv, dv, pair);
		if (i + 1 < n)
			b->isa->to_bf16(s->floats + (i + 1) * dv, dv, pair + dv + 1);
		b->isa->zip(pair, i + 1 < n ? pair + dv + 1 : s->zeros, dv,
			    (uint16_t *)(void *)s->values + i * dv);
	}
	all_panels(b, &e->l->k[h], s->at, n, s->floats, dn);
	for (uint32_t i = 0; i < n; i++) {
		uint16_t *key = s->keys + i * dk;

		b->isa->to_bf16(s->floats + i * dn, dn, key);
		memcpy(key + dn, (const uint16_t *)s->at[i] + rk, dr * sizeof(*key));
		s->at[i] = key;
	}
}

/* Rows [16 i, ...) of the span: head h's queries as a panel of bfloat16. */
static uint32_t span_query(const struct expanded *e, size_t h, size_t i, uint16_t *panel)
{
	struct cpu *b = e->b;
	size_t dk = b->c->qk_nope + b->c->qk_rope, ldq = b->c->heads * dk;
	uint32_t lanes = (uint32_t)min_of(16, e->n - i * 16);

	memset(panel, 0, even(dk) * 16 * sizeof(*panel));
	for (uint32_t lane = 0; lane < lanes; lane++) {
		const float *q = b->q + (e->row + i * 16 + lane) * ldq + h * dk;

		for (size_t c = 0; c < dk; c++)
			panel[(c / 2 * 16 + lane) * 2 + c % 2] = mdl_f32_bf16(q[c]);
	}
	return lanes;
}

/* Queries 16 i.. of the span against the chunk at s->at, s->values; joined to their running result. */
static void span_chunk(const struct expanded *e, size_t h, size_t i, size_t first, uint32_t n,
		       struct cpu_scratch *s)
{
	struct cpu *b = e->b;
	size_t dv = b->c->v_head, floats = STATE + dv * 16;
	float *whole = s->spans + i * floats, *part = first > 0 ? s->part : whole;
	size_t pos = b->rows[e->row].pos + i * 16; /* of lane 0 */
	uint32_t lanes = span_query(e, h, i, s->query);
	int32_t limit[16];
	struct cpu_attend at = {.q = s->query,
				.width = b->c->qk_nope + b->c->qk_rope,
				.dv = (uint32_t)dv,
				.k = s->at,
				.v = s->values,
				.limit = limit,
				.scale = b->rope.softmax_scale,
				.scores = s->scores,
				.m = part,
				.l = part + 16,
				.u = part + STATE};

	for (uint32_t lane = 0; lane < 16; lane++) {
		size_t own = pos + (lane < lanes ? lane : lanes - 1);

		limit[lane] = own + 1 < first ? 0 : (int32_t)min_of(own + 1 - first, n);
	}
	at.n = (uint32_t)limit[lanes - 1];
	if (at.n == 0)
		return;
	b->isa->attend_bf16(&at);
	if (first > 0)
		join(b, whole, part, (uint32_t)dv);
}

/* Task h: head h of all rows of the span. */
static void expanded_task(void *arg, size_t h, uint32_t worker)
{
	const struct expanded *e = arg;
	struct cpu *b = e->b;
	struct cpu_scratch *s = &b->scratch[worker];
	size_t dv = b->c->v_head, ldo = b->c->heads * dv, floats = STATE + dv * 16;
	size_t keys = b->rows[e->row].pos + e->n, panels = (e->n + 15) / 16;

	for (size_t first = 0; first < keys; first += CPU_CHUNK) {
		uint32_t n = (uint32_t)min_of(keys - first, CPU_CHUNK);

		chunk_latents(b, e->layer, b->rows[e->row].span->blocks, first, n, s);
		for (uint32_t i = 0; b->cache.type == ENG_CACHE_F32 && i < n; i++) {
			uint16_t *row = s->latents + i * even(b->cache.width);

			b->isa->to_bf16(s->at[i], b->cache.width, row);
			s->at[i] = row;
		}
		expand(e, h, s, n);
		for (size_t i = 0; i < panels; i++)
			span_chunk(e, h, i, first, n, s);
	}
	for (size_t i = 0; i < panels; i++) {
		const float *whole = s->spans + i * floats;

		b->isa->untangle(whole + STATE, whole + 16, dv,
				 b->attn + (e->row + i * 16) * ldo + h * dv, ldo,
				 (unsigned)min_of(16, e->n - i * 16));
	}
}

/* ---- a layer -------------------------------------------------------------------------------- */

struct rotate {
	struct cpu *b;
	const struct cpu_layer *l;
	uint32_t layer;
};

/* Task row: its queries rotated; latent normed, shared key rotated, both to the cache. */
static void rotate_task(void *arg, size_t r, uint32_t worker)
{
	const struct rotate *t = arg;
	struct cpu *b = t->b;
	const struct mdl_config *c = b->c;
	const float *turn = b->turn + r * c->qk_rope;
	size_t dk = c->qk_nope + c->qk_rope;
	float *q = b->q + r * c->heads * dk;	// [heads, dn | dr]
	float *kv = b->kv + r * b->cache.width; // [rk | dr]

	(void)worker;
	for (size_t h = 0; h < c->heads; h++)
		eng_rope_apply(&b->rope, turn, q + h * dk + c->qk_nope);
	b->isa->norm(kv, t->l->kv_a_norm, c->kv_rank, c->lora_eps, kv);
	eng_rope_apply(&b->rope, turn, kv + c->kv_rank);
	eng_cache_put(&b->cache, t->layer, b->rows[r].span->blocks, b->rows[r].pos, kv);
}

static void project(struct cpu *b, uint32_t layer)
{
	const struct mdl_config *c = b->c;
	const struct cpu_layer *l = &b->layers[layer];
	const struct cpu_mat *first = c->q_rank > 0 ? &l->q_a : &l->q;
	size_t n = b->n_rows, width = c->q_rank > 0 ? c->q_rank : first->rows;
	struct rotate t = {b, l, layer};
	enum cpu_act act = cpu_act_of(first->format), other = cpu_act_of(l->kv_a.format);
	struct cpu_job jobs[2];
	const void *const *x = cpu_bring(b, act, b->h, n, c->hidden);

	jobs[0] = (struct cpu_job){first, x, n, c->q_rank > 0 ? b->qa : b->q, width};
	x = other == act ? x : cpu_bring(b, other, b->h, n, c->hidden);
	jobs[1] = (struct cpu_job){&l->kv_a, x, n, b->kv, b->cache.width};
	cpu_products(b, jobs, 2);
	if (c->q_rank > 0) {
		for (size_t r = 0; r < n; r++)
			b->isa->norm(b->qa + r * c->q_rank, l->q_a_norm, c->q_rank, c->lora_eps,
				     b->qa + r * c->q_rank);
		x = cpu_bring(b, cpu_act_of(l->q_b.format), b->qa, n, c->q_rank);
		jobs[0] = (struct cpu_job){&l->q_b, x, n, b->q, l->q_b.rows};
		cpu_products(b, jobs, 1);
	}
	eng_workers_run(b->workers, n, rotate_task, &t);
}

void cpu_attention(struct cpu *b, uint32_t layer, const struct eng_batch *batch)
{
	const struct cpu_layer *l = &b->layers[layer];
	const struct eng_span *s = batch->spans, *end = s + batch->n_spans;
	size_t row = 0, rows;
	struct cpu_job job;

	project(b, layer);
	while (s < end) {
		if (s->form == ENG_FORM_EXPANDED) {
			for (size_t at = 0; at < s->n; at += ENG_SPAN_TOKENS) {
				struct expanded e = {b, l, layer, row + at,
						     min_of(s->n - at, ENG_SPAN_TOKENS)};

				eng_workers_run(b->workers, b->c->heads, expanded_task, &e);
			}
			row += (s++)->n;
			continue;
		}
		for (rows = 0; s < end && s->form == ENG_FORM_ABSORBED; s++)
			rows += s->n;
		for (size_t at = 0; at < rows; at += CPU_ABSORBED_ROWS) {
			struct absorbed a = {
				b, l, layer, row + at, min_of(rows - at, CPU_ABSORBED_ROWS), 0};

			attend_absorbed(&a);
		}
		row += rows;
	}
	job = (struct cpu_job){&l->o,
			       cpu_bring(b, cpu_act_of(l->o.format), b->attn, b->n_rows, l->o.cols),
			       b->n_rows, b->y, b->c->hidden};
	cpu_products(b, &job, 1);
}
