/*
 * Lets libFuzzer (in atheris) see the coverage of modules that gcc compiled.
 *
 * clang counts edges itself; of gcc's two instrumentations (-fsanitize-coverage=trace-pc,trace-cmp) libFuzzer takes
 * the comparisons as they are, but no longer the first. So each call of it is counted here, by the address it came
 * from, in an array of counters that libFuzzer is told of. Two addresses may share a counter; that costs little.
 *
 * The modules find these functions because this library is loaded before them, for all (RTLD_GLOBAL). libFuzzer's own
 * stay private to atheris, and are handed over by `coverage_begin`.
 */

#include <stddef.h>
#include <stdint.h>

#define COUNTERS 65536

static uint8_t counters[COUNTERS];
static uintptr_t places[2 * COUNTERS];

void __sanitizer_cov_trace_pc(void)
{
    uintptr_t place = (uintptr_t)__builtin_return_address(0);
    uint8_t *counter = &counters[(place ^ place >> 16) % COUNTERS];

    *counter += *counter != UINT8_MAX;
}

#define COMPARISON(name, type)                          \
    static void (*on_##name)(type, type);               \
    void __sanitizer_cov_trace_##name(type a, type b)   \
    {                                                   \
        if (on_##name)                                  \
            on_##name(a, b);                            \
    }

COMPARISON(cmp1, uint8_t)
COMPARISON(cmp2, uint16_t)
COMPARISON(cmp4, uint32_t)
COMPARISON(cmp8, uint64_t)
COMPARISON(const_cmp1, uint8_t)
COMPARISON(const_cmp2, uint16_t)
COMPARISON(const_cmp4, uint32_t)
COMPARISON(const_cmp8, uint64_t)

static void (*on_switch)(uint64_t, uint64_t *);

void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    if (on_switch)
        on_switch(value, cases);
}

void __sanitizer_cov_trace_cmpf(float a, float b)
{
    (void)a, (void)b;
}

void __sanitizer_cov_trace_cmpd(double a, double b)
{
    (void)a, (void)b;
}

/* `functions`: libFuzzer's, in the order in which guided.py names them. */
void coverage_begin(void **functions)
{
    void (*counters_init)(uint8_t *, uint8_t *) = (void (*)(uint8_t *, uint8_t *))functions[0];
    void (*places_init)(const uintptr_t *, const uintptr_t *) =
        (void (*)(const uintptr_t *, const uintptr_t *))functions[1];

    for (size_t i = 0; i < COUNTERS; i++)
        places[2 * i] = (uintptr_t)&counters[i];
    counters_init(counters, counters + COUNTERS);
    places_init(places, places + 2 * COUNTERS);
    on_cmp1 = (void (*)(uint8_t, uint8_t))functions[2];
    on_cmp2 = (void (*)(uint16_t, uint16_t))functions[3];
    on_cmp4 = (void (*)(uint32_t, uint32_t))functions[4];
    on_cmp8 = (void (*)(uint64_t, uint64_t))functions[5];
    on_const_cmp1 = (void (*)(uint8_t, uint8_t))functions[6];
    on_const_cmp2 = (void (*)(uint16_t, uint16_t))functions[7];
    on_const_cmp4 = (void (*)(uint32_t, uint32_t))functions[8];
    on_const_cmp8 = (void (*)(uint64_t, uint64_t))functions[9];
    on_switch = (void (*)(uint64_t, uint64_t *))functions[10];
}
