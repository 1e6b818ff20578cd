/*
 * From the scheduler's events to bytes on the wire. Loop thread only.
 */
#ifndef LT_SERVER_STREAM_H
#define LT_SERVER_STREAM_H

#include <microhttpd.h>

struct srv;
struct srv_call;

/* Takes all waiting events; tokens of one answer that came together are passed on together. */
void srv_stream_events(struct srv *s);

/* Queues the answer whose bytes the call collects: an event stream, or a complete body. */
enum MHD_Result srv_stream_begin(struct srv_call *call);

/* The request failed with call->fault: an error object if nothing was sent, else an error event. */
void srv_stream_break(struct srv_call *call);

/* Keeps silent streams alive. */
void srv_stream_tick(struct srv *s);

#endif
