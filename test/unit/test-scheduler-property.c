/*
 * Properties of the scheduler under random load, with the fake engine (fake-engine.h): whatever
 * arrives, is cancelled, expires, is preempted or found in the prefix cache, each choice's tokens
 * are those of a run alone, it ends as it should, and every block comes home.
 *
 * In one of the runs allocations fail at random: then a choice may also end with LT_ENOMEM, and
 * nothing else may happen. (The linker gives us the scheduler's calls of lt_alloc and lt_reserve.)
 *
 * The first half drives a core without a thread, one turn at a time, and checks all its structure
 * after each; a seed gives the same run each time. The second half has the thread and the queues.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "test/unit/fake-engine.h"
#include "test/unit/sched-check.h"

#define VOCAB	    251
#define MAX_ANSWER  120
#define MAX_REQUEST 64 /* open at once */

/* --- random numbers --- */

static uint64_t rng;

static uint32_t below(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

static bool chance(uint32_t percent)
{
	return below(100) < percent;
}

/* --- memory that runs out --- */

static uint32_t scarce; /* one in so many allocations fails; 0: none */

void *__real_lt_alloc(size_t count, size_t size);
void *__wrap_lt_alloc(size_t count, size_t size);
int __real_lt_reserve(void *ptr, size_t *cap, size_t need, size_t size);
int __wrap_lt_reserve(void *ptr, size_t *cap, size_t need, size_t size);

static bool refuse(void)
{
	return scarce > 0 && below(scarce) == 0;
}

void *__wrap_lt_alloc(size_t count, size_t size)
{
	return refuse() ? NULL : __real_lt_alloc(count, size);
}

int __wrap_lt_reserve(void *ptr, size_t *cap, size_t need, size_t size)
{
	return need > *cap && refuse() ? LT_ENOMEM : __real_lt_reserve(ptr, cap, need, size);
}

/* --- what the test knows of a request --- */

struct known {
	uint64_t id;
	struct sched_request req; /* prompt and stop_ids are copies of ours */
	uint32_t n_open;
	bool cancelled; /* we asked for at least one */
	struct {
		int32_t tokens[MAX_ANSWER];
		uint32_t n;
		bool ended;
	} choice[4];
};

struct load {
	struct eng *engine;
	uint32_t max_context;
	struct known *open[MAX_REQUEST];
	size_t n_open;
	uint64_t ended, stopped, full_length, cancelled, expired, starved, cached;
	uint32_t scarce; /* while the core runs */
};

static void *copy_of(const void *src, size_t n, size_t size)
{
	void *p = lt_xalloc(n, size);

	if (n > 0)
		memcpy(p, src, n * size);
	return p;
}

/* Prompts come from few texts, so that they share beginnings; some differ in the middle. */
static void random_prompt(struct sched_request *r, uint32_t max)
{
	uint32_t text = below(4), fork_at = below(max), n = 1 + below(chance(30) ? max : 80);

	if (n > max)
		n = max;
	r->n_prompt = n;
	r->prompt = lt_xalloc(n, sizeof(*r->prompt));
	for (uint32_t i = 0; i < n; i++)
		r->prompt[i] =
			check_token(chance(98) || i < fork_at ? text : 1000 + below(5), i, VOCAB);
}

static struct known *random_request(const struct load *l)
{
	static const int32_t stops[] = {3, 5, 8};
	struct known *k = lt_xalloc(1, sizeof(*k));
	struct sched_request *r = &k->req;

	random_prompt(r, l->max_context - 1 < 700 ? l->max_context - 1 : 700);
	r->n = chance(20) ? 1 + below(4) : 1;
	r->max_tokens = 1 + below(chance(20) ? MAX_ANSWER : 20);
	r->priority = chance(20) ? (int32_t)below(3) - 1 : 0;
	r->tenant = below(5);
	r->salt[0] = (unsigned char)below(2);
	r->no_prefix_cache = chance(10);
	if (chance(8))
		r->deadline_ns = lt_clock_ns() + below(3000) * UINT64_C(1000);
	r->how = (struct eng_sampling){.temperature = 1,
				       .top_p = 1,
				       .repetition_penalty = chance(10) ? 1.1f : 1.0f,
				       .presence_penalty = chance(10) ? 0.5f : 0.0f,
				       .seed = below(3),
				       .logprobs = chance(10),
				       .min_tokens = chance(20) ? below(30) : 0,
				       .ignore_eos = chance(50),
				       .n_stop_ids = chance(50) ? 3 : 0};
	r->how.stop_ids = copy_of(stops, r->how.n_stop_ids, sizeof(stops[0]));
	k->n_open = r->n;
	return k;
}

/* What the scheduler gets: its own copies. */
static struct sched_request for_scheduler(const struct known *k)
{
	struct sched_request r = k->req;

	r.prompt = copy_of(r.prompt, r.n_prompt, sizeof(*r.prompt));
	r.how.stop_ids = copy_of(r.how.stop_ids, r.how.n_stop_ids, sizeof(int32_t));
	return r;
}

static void known_free(struct known *k)
{
	free(k->req.prompt);
	free((void *)k->req.how.stop_ids);
	free(k);
}

/* --- checking answers --- */

static void check_end(struct load *l, const struct known *k, const struct sched_event *e)
{
	int32_t want[MAX_ANSWER];
	bool stopped;
	uint32_t n = fake_answer(l->engine, k->req.prompt, k->req.n_prompt, &k->req.how, e->choice,
				 k->req.max_tokens, l->max_context, want, &stopped);
	uint32_t got = k->choice[e->choice].n;

	assert_int_equal(e->n_generated, got);
	assert_true(got <= n);
	assert_memory_equal(want, k->choice[e->choice].tokens, got * sizeof(want[0]));
	l->ended++;
	l->cached += e->n_cached;
	assert_true(e->n_cached < k->req.n_prompt);
	switch (e->finish) {
	case SCHED_FINISH_STOP:
		assert_true(stopped && got == n);
		l->stopped++;
		break;
	case SCHED_FINISH_LENGTH:
		assert_true(!stopped && got == n);
		l->full_length++;
		break;
	case SCHED_FINISH_CANCELLED:
		assert_true(k->cancelled);
		l->cancelled++;
		break;
	case SCHED_FINISH_ERROR:
		if (e->error == LT_ENOMEM && l->scarce) {
			l->starved++;
			break;
		}
		assert_int_equal(e->error, LT_ETIMEOUT);
		assert_true(k->req.deadline_ns && e->time_ns >= k->req.deadline_ns);
		l->expired++;
		break;
	default: fail_msg("no finish");
	}
}

static void take_event(struct load *l, const struct sched_event *e)
{
	size_t i = 0;
	struct known *k;

	while (i < l->n_open && l->open[i]->id != e->id)
		i++;
	assert_true(i < l->n_open);
	k = l->open[i];
	assert_true(e->choice < k->req.n && !k->choice[e->choice].ended);
	if (e->finish == SCHED_FINISH_NONE) {
		assert_int_equal(!!e->draw, k->req.how.logprobs);
		if (e->draw)
			assert_int_equal(e->draw->token, e->token);
		assert_true(k->choice[e->choice].n < MAX_ANSWER);
		k->choice[e->choice].tokens[k->choice[e->choice].n++] = e->token;
		assert_int_equal(e->n_generated, k->choice[e->choice].n);
	} else {
		assert_null(e->draw);
		check_end(l, k, e);
		k->choice[e->choice].ended = true;
		if (--k->n_open == 0) {
			known_free(k);
			l->open[i] = l->open[--l->n_open];
		}
	}
	free(e->draw);
}

static void take_events(void *arg, const struct sched_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++)
		take_event(arg, &events[i]);
}

/* --- half one: a core, turn by turn --- */

static void random_opts(struct sched_opts *o, struct fake_opts *f, bool absorbed)
{
	*o = (struct sched_opts){.max_running = 1 + below(chance(30) ? 3 : 24),
				 .max_queued = 64,
				 .max_context = 40 + below(900),
				 .prefix_cache = absorbed};
	o->step_tokens = 256 + (chance(50) ? o->max_running : below(600));
	*f = (struct fake_opts){.vocab = VOCAB,
				.blocks = chance(50) ? 4 + below(16) : 30 + below(100),
				.max_rows = o->step_tokens,
				.max_outputs = o->max_running,
				.attention = absorbed ? ENG_ATTENTION_ABSORBED : ENG_ATTENTION_AUTO,
				.gives_tokens = chance(10)};
}

static void core_arrival(struct sched_core *c, struct load *l, uint64_t *last_id)
{
	struct known *k = random_request(l);
	struct sched_request r = for_scheduler(k);
	struct sched_req *req = sched_req_open(++*last_id, &r);

	assert_non_null(req); /* scarce is 0 */
	k->id = *last_id;
	if (c->sampler == NULL)
		k->req.how.logprobs = false;
	l->open[l->n_open++] = k;
	req->arrived_ns = lt_clock_ns();
	scarce = l->scarce;
	sched_core_enter(c, req);
	scarce = 0;
}

static void core_cancel(struct sched_core *c, struct load *l)
{
	struct known *k = l->open[below((uint32_t)l->n_open)];

	k->cancelled = true;
	sched_core_cancel(c, k->id, chance(50) ? -1 : (int32_t)below(k->req.n));
}

static struct sched_stats core_run(uint64_t seed, bool absorbed, struct load *l)
{
	struct sched_core *c = lt_xalloc(1, sizeof(*c));
	struct sched_stats stats;
	struct sched_opts o;
	struct fake_opts f;
	uint64_t last_id = 0;
	uint32_t arrivals = 60, busy = 5 + below(60);

	rng = seed;
	random_opts(&o, &f, absorbed);
	o.engine = l->engine = fake_open(&f);
	assert_int_equal(sched_core_init(c, &o, NULL), 0);
	c->flush = take_events;
	c->flush_arg = l;
	l->max_context = c->max_tokens;
	while (arrivals > 0 || l->n_open > 0) {
		while (arrivals > 0 && l->n_open < MAX_REQUEST && chance(busy)) {
			core_arrival(c, l, &last_id);
			arrivals--;
		}
		if (l->n_open > 0 && chance(4))
			core_cancel(c, l);
		scarce = l->scarce;
		sched_core_turn(c);
		scarce = 0;
		check_core(c);
	}
	assert_true(sched_core_idle(c));
	sched_core_stats(c, &stats);
	assert_int_equal(stats.blocks_used, 0);
	assert_int_equal(stats.blocks_shared, 0);
	sched_core_fini(c);
	eng_close(l->engine);
	free(c);
	return stats;
}

static void core_property(bool absorbed, uint32_t seeds, uint32_t one_in)
{
	struct load l = {.scarce = one_in};
	uint64_t preempted = 0;

	for (uint32_t seed = 1; seed <= seeds; seed++)
		preempted += core_run(seed, absorbed, &l).preemptions;
	print_message("%llu choices: %llu stopped, %llu length, %llu cancelled, %llu expired, "
		      "%llu without memory; %llu preemptions, %llu tokens from the cache\n",
		      (unsigned long long)l.ended, (unsigned long long)l.stopped,
		      (unsigned long long)l.full_length, (unsigned long long)l.cancelled,
		      (unsigned long long)l.expired, (unsigned long long)l.starved,
		      (unsigned long long)preempted, (unsigned long long)l.cached);
	/* The load must really have met everything that it is meant to meet. */
	assert_true(l.stopped > 0 && l.full_length > 0 && l.cancelled > 0 && preempted > 0);
	assert_true(absorbed == (l.cached > 0));
	assert_true((one_in > 0) == (l.starved > 0));
}

static void core_with_cache(void **state)
{
	(void)state;
	core_property(true, 100, 0);
}

/* Both forms of attention: which one a token takes must survive preemption and any cut. */
static void core_with_forms(void **state)
{
	(void)state;
	core_property(false, 60, 0);
}

static void core_without_memory(void **state)
{
	(void)state;
	core_property(true, 60, 40);
}

/* --- half two: the thread --- */

struct signal {
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool set;
};

static void on_wake(void *arg)
{
	struct signal *s = arg;

	pthread_mutex_lock(&s->lock);
	s->set = true;
	pthread_cond_signal(&s->woken);
	pthread_mutex_unlock(&s->lock);
}

static void wait_wake(struct signal *s)
{
	pthread_mutex_lock(&s->lock);
	while (!s->set)
		pthread_cond_wait(&s->woken, &s->lock);
	s->set = false;
	pthread_mutex_unlock(&s->lock);
}

static size_t poll_some(struct sched *s, struct load *l)
{
	struct sched_event some[32];
	size_t n = sched_poll(s, some, 1 + below(32));

	take_events(l, some, n);
	return n;
}

static void thread_arrival(struct sched *s, struct load *l)
{
	struct known *k = random_request(l);
	struct sched_request r = for_scheduler(k);
	int rc = sched_submit(s, &r, &k->id, NULL);

	if (rc == 0) {
		if (!eng_info(l->engine)->has_logits)
			k->req.how.logprobs = false;
		l->open[l->n_open++] = k;
		return;
	}
	assert_int_equal(rc, LT_EFULL);
	free(r.prompt);
	free((void *)r.how.stop_ids);
	known_free(k);
}

static void thread_run(uint64_t seed, struct load *l, uint32_t arrivals)
{
	struct signal sig = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	struct sched_stats stats;
	struct sched_opts o;
	struct fake_opts f;
	struct sched *s;

	rng = seed;
	random_opts(&o, &f, true);
	o.engine = l->engine = fake_open(&f);
	o.max_queued = 1 + below(80);
	o.wake = on_wake;
	o.wake_arg = &sig;
	assert_int_equal(sched_open(&o, &s, NULL), 0);
	l->max_context = sched_max_context(s);
	while (arrivals > 0 || l->n_open > 0) {
		if (arrivals > 0 && l->n_open < MAX_REQUEST && chance(40)) {
			thread_arrival(s, l);
			arrivals--;
		} else if (l->n_open > 0 && chance(5)) {
			struct known *k = l->open[below((uint32_t)l->n_open)];
			k->cancelled = true;
			sched_cancel(s, k->id, chance(50) ? -1 : (int32_t)below(k->req.n));
		} else if (poll_some(s, l) == 0 && l->n_open > 0 && chance(50)) {
			wait_wake(&sig);
		}
	}
	/* All ends are here; the thread publishes after the last of them, or before it sleeps. */
	for (sched_stats(s, &stats); stats.busy; sched_stats(s, &stats))
		sched_yield();
	assert_int_equal(stats.blocks_used, 0);
	assert_int_equal(stats.queued + stats.running, 0);
	sched_close(s);
	eng_close(l->engine);
}

static void thread_property(void **state)
{
	struct load l = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++)
		thread_run(seed, &l, 60);
	print_message("%llu choices: %llu stopped, %llu length, %llu cancelled, %llu expired\n",
		      (unsigned long long)l.ended, (unsigned long long)l.stopped,
		      (unsigned long long)l.full_length, (unsigned long long)l.cancelled,
		      (unsigned long long)l.expired);
	assert_true(l.stopped > 0 && l.full_length > 0 && l.cancelled > 0 && l.cached > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(core_with_cache),
		cmocka_unit_test(core_with_forms),
		cmocka_unit_test(core_without_memory),
		cmocka_unit_test(thread_property),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
