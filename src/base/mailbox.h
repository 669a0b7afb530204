/* mailbox.h - a stream of variable-sized records from any threads to one reader, without an allocation a record.
 *
 * Writers append to one buffer under a lock; the reader swaps it for an empty one and reads at leisure. The two buffers grow
 * to what a busy moment needs and stay. It never refuses: bound what may be outstanding (admitted requests) instead. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "base/base.h"

typedef struct Mailbox Mailbox;

Mailbox *mailbox_new(void);
void mailbox_free(Mailbox *m);
/* One record: head then tail, copied (tail may be empty). Dropped after mailbox_close. */
void mailbox_put(Mailbox *m, const void *head, size_t n_head, const void *tail, size_t n_tail);
/* Reader: waits for records; false once closed and empty. The records stay valid until the next call. */
bool mailbox_wait(Mailbox *m);
/* Reader: the next record of those, 8-byte aligned; NULL at their end. */
const void *mailbox_next(Mailbox *m, size_t *n);
void mailbox_close(Mailbox *m);

#endif
