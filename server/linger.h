/*
 * Lingering close. When an answer goes out before the whole request was read (413), closing the
 * socket at once makes the kernel send a reset, which may destroy the answer on its way. So a copy
 * of the descriptor is kept for a moment: its output is ended, its input read and dropped. Loop
 * thread only.
 */
#ifndef LT_SERVER_LINGER_H
#define LT_SERVER_LINGER_H

struct srv;

/* Keeps a copy of fd. Best effort: with too many lingering already, or no descriptors, nothing. */
void srv_linger(struct srv *s, int fd);

/* Ends those whose time is over; with `all`, every one. */
void srv_linger_expire(struct srv *s, bool all);

#endif
