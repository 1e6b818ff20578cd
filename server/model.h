/*
 * The model being served: checkpoint, tokenizer, chat template, engine, scheduler. Opened on a
 * worker thread; afterwards immutable, so that workers may read it, but for the scheduler, which the
 * loop thread alone talks to.
 */
#ifndef LT_SERVER_MODEL_H
#define LT_SERVER_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "api/request.h"
#include "api/response.h"
#include "base/error.h"
#include "engine/engine.h"
#include "model/checkpoint.h"
#include "model/template.h"
#include "model/tokenizer.h"
#include "scheduler/sched.h"
#include "server/params.h"

#define SRV_MAX_STOP_IDS (MDL_MAX_EOS + 1)

struct srv_model {
	struct mdl *mdl;
	struct mdl_tok *tok;
	struct mdl_template *tmpl; /* NULL: no chat */
	struct eng *eng;
	struct sched *sched;
	char *name;
	struct api_model shown;
	struct api_limits limits;
	struct api_template_opts tmpl_opts;
	const char *names[1];
	char *bos_text, *eos_text; /* NULL: none */
	bool reasoning;		   /* answers may have <think>...</think> */
	bool think_is_special;	   /* and these tags are control tokens */
	enum api_tool_dialect tools;
	int32_t stop_ids[SRV_MAX_STOP_IDS];
	size_t n_stop_ids;
};

/* Opens everything; `wake` is called from the scheduler's thread. Errors name the file. */
int srv_model_open(const struct srv_params *p, void (*wake)(void *), void *wake_arg,
		   struct srv_model **out, struct lt_err *err);
/* Ends the scheduler's thread, then frees. NULL is fine. */
void srv_model_close(struct srv_model *m);

#endif
