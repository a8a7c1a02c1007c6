/* clock.h - the two clocks: monotonic for deadlines, wall for what people read. */
#ifndef SBX_OS_CLOCK_H
#define SBX_OS_CLOCK_H

#include <stdint.h>

uint64_t sbx_clock_mono_us(void); /* microseconds since some start, never goes back */
uint64_t sbx_clock_wall_ms(void); /* Unix milliseconds */

#define SBX_HTTP_DATE_LEN 29
/* IMF-fixdate (RFC 9110, 5.6.7) of a Unix second; writes 29 characters, no NUL. */
void sbx_clock_http_date(uint64_t unix_s, char out[SBX_HTTP_DATE_LEN]);

#endif
