/* Preloaded: the time of day that this process sees is off by the seconds in the file that SHIFT_FILE names. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *found)
{
	long result = syscall(SYS_clock_gettime, clock, found);
	const char *name = getenv("SHIFT_FILE");
	FILE *file = clock == CLOCK_REALTIME && name ? fopen(name, "r") : NULL;
	long shift_s;

	if (file) {
		if (fscanf(file, "%ld", &shift_s) == 1)
			found->tv_sec += shift_s;
		fclose(file);
	}
	return (int)result;
}
