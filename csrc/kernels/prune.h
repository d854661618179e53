/* SPDX-License-Identifier: Apache-2.0
 * Included behind prune_run, which is inlined: so that each policy is a loop of its own. */
#ifndef CUBE24_PRUNE_H
#define CUBE24_PRUNE_H

static void prune(const int8_t *weight, size_t blocks, int policy, int8_t *out, cube24_cost *cost)
{
    switch (policy) {
    case CUBE24_POLICY_FIRST_TWO:
        prune_run(weight, blocks, CUBE24_POLICY_FIRST_TWO, out, cost);
        break;
    case CUBE24_POLICY_FIRST_LAST:
        prune_run(weight, blocks, CUBE24_POLICY_FIRST_LAST, out, cost);
        break;
    default:
        prune_run(weight, blocks, CUBE24_POLICY_MAGNITUDE, out, cost);
    }
}

#endif
