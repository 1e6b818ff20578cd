/*
 * Noticing that a client has gone. libmicrohttpd takes a suspended connection out of its epoll set,
 * so while a request waits for the scheduler nobody would see the client close. Here the sockets of
 * requests at work are watched for exactly that, in an epoll set of their own (EPOLLRDHUP needs no
 * reading and so doesn't disturb pipelined requests). A client that only closes its sending half
 * counts as gone too. Loop thread only.
 */
#ifndef LT_SERVER_WATCH_H
#define LT_SERVER_WATCH_H

#include "base/error.h"

struct srv;
struct srv_conn;

int srv_watch_open(struct srv *s, struct lt_err *err);
void srv_watch_close(struct srv *s); /* before the loop is closed; the loop must turn once more */

/* Watches c until srv_watch_end; on a close srv_call_gone is called, once. LT_EIO. */
int srv_watch_begin(struct srv_conn *c);
void srv_watch_end(struct srv_conn *c);

#endif
