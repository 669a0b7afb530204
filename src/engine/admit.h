/* admit.h - inside engine: which waiting jobs begin to run. */
#ifndef ENGINE_ADMIT_H
#define ENGINE_ADMIT_H

#include "engine/sched.h"

void admit_by_priority(Sched *s); /* may preempt those of lower priority; before rows are given out */
void admit_waiting(Sched *s);     /* with the rows that are left */

#endif
