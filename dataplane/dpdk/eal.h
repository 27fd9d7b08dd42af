// The environment abstraction layer: start, log, end.
#ifndef FASTSYN_EAL_H
#define FASTSYN_EAL_H

#include <stddef.h>

// fs_eal_init starts the EAL on the calling thread, which becomes its main
// thread. Returns 0, or a negative errno; fs_log_take then has what it said.
int fs_eal_init(int argc, char **argv);

// fs_log_take moves up to n-1 bytes of what DPDK has logged since the last call
// to dst, ends them with a zero and returns their number. Of more, the last are kept.
size_t fs_log_take(char *dst, size_t n);

#endif
