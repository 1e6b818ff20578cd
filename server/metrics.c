/*
 * Metrics: counting, and the page in Prometheus' text format 0.0.4.
 */
#include "server/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/model.h"
#include "server/srv.h"

#define NS 1e-9

static const double wait_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
				     0.5,   1,	    2.5,   5,	 10,	30,   60};
static const double gap_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
				    0.05,   0.1,   0.25,   0.5,	  1,	2.5};
static const double long_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
				     2.5,   5,	  10,	 30,   60,  120,  300, 600};

static const int statuses[] = {
#define X(status) status,
	SRV_STATUSES(X)
#undef X
};

#define HIST(bounds)                                                                               \
	(struct srv_hist)                                                                          \
	{                                                                                          \
		bounds, sizeof(bounds) / sizeof(bounds[0]), {0}, 0, 0                              \
	}

void srv_metrics_init(struct srv_metrics *m)
{
	*m = (struct srv_metrics){0};
	m->first_token_seconds = HIST(wait_bounds);
	m->token_gap_seconds = HIST(gap_bounds);
	m->request_seconds = HIST(long_bounds);
	m->prepare_seconds = HIST(wait_bounds);
	m->start_s = lt_clock_wall_s();
}

void srv_metrics_request(struct srv_metrics *m, enum srv_route_id route, int status)
{
	size_t i = 0;

	while (i + 1 < SRV_STATUS_COUNT && statuses[i] != status)
		i++;
	m->requests[route][i]++;
}

void srv_hist_add(struct srv_hist *h, double seconds)
{
	size_t i = 0;

	while (i < h->n_bounds && seconds > h->bounds[i])
		i++;
	h->counts[i]++;
	h->total++;
	h->sum += seconds;
}

/* --- the page ------------------------------------------------------------------------------------ */

static void head(struct lt_buf *out, const char *name, const char *type, const char *help)
{
	lt_buf_addf(out, "# HELP latentd_%s %s\n# TYPE latentd_%s %s\n", name, help, name, type);
}

static void counter(struct lt_buf *out, const char *name, const char *help, uint64_t v)
{
	head(out, name, "counter", help);
	lt_buf_addf(out, "latentd_%s %llu\n", name, (unsigned long long)v);
}

static void gauge(struct lt_buf *out, const char *name, const char *help, double v)
{
	head(out, name, "gauge", help);
	lt_buf_addf(out, "latentd_%s %.15g\n", name, v);
}

static void hist(struct lt_buf *out, const char *name, const char *help, const struct srv_hist *h)
{
	uint64_t sum = 0;

	head(out, name, "histogram", help);
	for (size_t i = 0; i < h->n_bounds; i++) {
		sum += h->counts[i];
		lt_buf_addf(out, "latentd_%s_bucket{le=\"%g\"} %llu\n", name, h->bounds[i],
			    (unsigned long long)sum);
	}
	lt_buf_addf(out, "latentd_%s_bucket{le=\"+Inf\"} %llu\n", name,
		    (unsigned long long)h->total);
	lt_buf_addf(out, "latentd_%s_sum %.9g\nlatentd_%s_count %llu\n", name, h->sum, name,
		    (unsigned long long)h->total);
}

static void write_requests(const struct srv_metrics *m, struct lt_buf *out)
{
	head(out, "requests_total", "counter", "Requests answered, by route and status.");
	for (int r = 0; r < SRV_ROUTE_COUNT; r++) {
		for (int i = 0; i < SRV_STATUS_COUNT; i++) {
			if (m->requests[r][i])
				lt_buf_addf(out,
					    "latentd_requests_total{route=\"%s\",status=\"%d\"} "
					    "%llu\n",
					    srv_route_at((enum srv_route_id)r)->label, statuses[i],
					    (unsigned long long)m->requests[r][i]);
		}
	}
}

static void write_connections(const struct srv *s, struct lt_buf *out)
{
	static const char *const phases[] = {
#define X(name, text) #name,
		SRV_CONN_PHASES(X)
#undef X
	};
	const struct srv_metrics *m = &s->metrics;

	gauge(out, "connections", "Open connections.", (double)s->conns.count);
	counter(out, "connections_accepted_total", "Connections accepted.", m->accepted);
	counter(out, "connections_refused_total", "Connections closed at once: too many.",
		m->refused);
	counter(out, "accept_failures_total",
		"Connections that could not be accepted for want of descriptors or memory.",
		m->accept_failures);
	head(out, "connections_expired_total", "counter",
	     "Connections closed because a deadline passed, by what they were doing.");
	for (int i = 0; i < SRV_CONN_PHASE_COUNT; i++) {
		char label[16];
		size_t n = strlen(phases[i]);
		for (size_t c = 0; c <= n; c++)
			label[c] = (char)(phases[i][c] | (phases[i][c] ? 0x20 : 0));
		lt_buf_addf(out, "latentd_connections_expired_total{phase=\"%s\"} %llu\n", label,
			    (unsigned long long)m->expired[i]);
	}
	gauge(out, "requests_active", "Completion requests at work.", s->n_calls);
	counter(out, "client_disconnects_total",
		"Completion requests whose client went away before the answer was complete.",
		m->disconnects);
	counter(out, "stream_overflows_total",
		"Streams cancelled because the client read too slowly.", m->overflows);
	counter(out, "stream_writes_total", "Pieces of streams handed to the network.", m->frames);
}

static void write_sched(const struct sched_stats *st, struct lt_buf *out)
{
	gauge(out, "sequences_queued", "Sequences waiting to run.", st->queued);
	gauge(out, "sequences_running", "Sequences running.", st->running);
	head(out, "cache_blocks", "gauge",
	     "Cache blocks by state: used by sequences, cached for reuse, free.");
	lt_buf_addf(
		out,
		"latentd_cache_blocks{state=\"used\"} %u\nlatentd_cache_blocks{state=\"cached\"} "
		"%u\nlatentd_cache_blocks{state=\"free\"} %u\n",
		st->blocks_used, st->blocks_cached,
		st->blocks_total - st->blocks_used - st->blocks_cached);
	gauge(out, "cache_blocks_shared", "Used cache blocks that several sequences share.",
	      st->blocks_shared);
	gauge(out, "cache_blocks_total", "All cache blocks.", st->blocks_total);
	counter(out, "prompt_tokens_total", "Prompt tokens of requests taken.", st->prompt_tokens);
	counter(out, "cached_tokens_total", "Prompt tokens that came from the prefix cache.",
		st->cached_tokens);
	counter(out, "generated_tokens_total", "Tokens generated.", st->generated_tokens);
	counter(out, "preemptions_total", "Sequences put back because blocks ran out.",
		st->preemptions);
	counter(out, "sequences_cancelled_total", "Sequences cancelled.", st->cancelled);
	counter(out, "sequences_finished_total", "Sequences finished.", st->finished);
	counter(out, "steps_total", "Engine steps.", st->steps);
	counter(out, "step_rows_total", "Tokens computed, summed over steps.", st->step_rows);
	counter(out, "step_sequences_total", "Sequences in a step, summed over steps.",
		st->step_sequences);
	head(out, "step_phase_seconds_total", "counter", "Time of the steps, by phase.");
	lt_buf_addf(out,
		    "latentd_step_phase_seconds_total{phase=\"plan\"} %.9g\n"
		    "latentd_step_phase_seconds_total{phase=\"engine\"} %.9g\n"
		    "latentd_step_phase_seconds_total{phase=\"sample\"} %.9g\n",
		    (double)st->plan_ns * NS, (double)st->step_ns * NS, (double)st->sample_ns * NS);
}

/* Appends an unsigned number; lt_buf_addf is too slow for the thousands of expert counts. */
static void add_number(struct lt_buf *out, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	lt_buf_add(out, digits + at, sizeof(digits) - at);
}

static void write_experts(const struct eng *eng, struct lt_buf *out)
{
	const struct eng_info *info = eng_info(eng);
	size_t experts = info->experts, layers = info->moe_layers;
	uint64_t *counts;

	if (!experts || !layers)
		return;
	counts = lt_alloc(layers, experts * sizeof(*counts));
	if (!counts)
		return;
	eng_expert_counts(eng, counts);
	head(out, "expert_tokens_total", "counter",
	     "Tokens routed to each expert, by MoE layer (0 is the first that has experts).");
	for (size_t l = 0; l < layers; l++) {
		for (size_t e = 0; e < experts; e++) {
			lt_buf_adds(out, "latentd_expert_tokens_total{layer=\"");
			add_number(out, l);
			lt_buf_adds(out, "\",expert=\"");
			add_number(out, e);
			lt_buf_adds(out, "\"} ");
			add_number(out, counts[l * experts + e]);
			lt_buf_addc(out, '\n');
		}
	}
	head(out, "expert_max_violation", "gauge",
	     "MaxVio of each MoE layer since the start: (largest count - mean) / mean.");
	for (size_t l = 0; l < layers; l++) {
		uint64_t max = 0, sum = 0;
		for (size_t e = 0; e < experts; e++) {
			uint64_t v = counts[l * experts + e];
			max = v > max ? v : max;
			sum += v;
		}
		double mean = (double)sum / (double)experts;
		lt_buf_addf(out, "latentd_expert_max_violation{layer=\"%zu\"} %.6g\n", l,
			    sum ? ((double)max - mean) / mean : 0.0);
	}
	free(counts);
}

static double resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long all = 0, resident = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &all, &resident) != 2)
		resident = 0;
	fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void write_model(const struct srv_model *m, struct lt_buf *out)
{
	const struct eng_info *info = eng_info(m->eng);

	head(out, "model_info", "gauge", "The model served; the value is always 1.");
	lt_buf_adds(out, "latentd_model_info{model=\"");
	lt_buf_add_json(out, m->name, strlen(m->name));
	lt_buf_addf(out, "\",backend=\"%s\"} 1\n", info->backend);
	gauge(out, "cache_token_bytes", "Bytes of cache that one token takes, over all layers.",
	      (double)info->token_bytes);
	gauge(out, "cache_bytes", "Bytes of the latent cache.", (double)info->cache_bytes);
	gauge(out, "weight_bytes", "Bytes of weights held beyond the mapped file.",
	      (double)info->weight_bytes);
	gauge(out, "context_tokens", "Longest prompt and answer together.",
	      (double)m->shown.max_context);
}

void srv_metrics_write(struct srv *s, struct lt_buf *out)
{
	const struct srv_metrics *m = &s->metrics;
	struct sched_stats st;

	gauge(out, "ready", "1 while completions are taken.", s->phase == SRV_READY);
	gauge(out, "process_start_time_seconds", "When the process started, since 1970.",
	      (double)m->start_s);
	gauge(out, "resident_bytes", "Memory of the process that is in RAM.", resident_bytes());
	counter(out, "reloads_total", "Times that SIGHUP was followed.", m->reloads);
	write_requests(m, out);
	write_connections(s, out);
	hist(out, "time_to_first_token_seconds", "From the request's header to its first token.",
	     &m->first_token_seconds);
	hist(out, "token_gap_seconds", "Between two tokens of one answer.", &m->token_gap_seconds);
	hist(out, "request_seconds", "Completion requests, from header to the answer's end.",
	     &m->request_seconds);
	hist(out, "prepare_seconds",
	     "Parsing, template and tokenising, with the wait for a thread.", &m->prepare_seconds);
	if (!s->model)
		return;
	write_model(s->model, out);
	sched_stats(s->model->sched, &st);
	write_sched(&st, out);
	write_experts(s->model->eng, out);
}
