"""
Longest-prefix match among a million prefixes: how a set is laid out, and searched.

Ranges. Nested prefixes are flattened when a set is built (`prefix_ranges.pyx`): each family becomes a sorted list of
addresses at which the answer changes, with the answer from there on. The first one is address 0. So a look-up is
a search for the last range that does not begin after the address: how deep the nesting is, or how a feed spreads its
prefixes, does not matter. n prefixes make 2n + 1 ranges at most.

    header (a line): magic | prefixes | ranges of IPv4 | ranges of IPv6
    IPv4    keys of 4 bytes: leaves, and the levels above them     | values of 4 bytes
    IPv6    keys of 8 bytes, the high halves: leaves and levels    | low halves | values

Tree. The keys stand in nodes of 16, one or two cache lines; a level holds the first key of each node of the level
below, up to a level of one node. In a node the keys that do not exceed the address are counted, all of them: no
branch to be guessed, and the compiler does several at a time. Measured with two million ranges, ns for an address at
random and for a thousand in turn: IPv6 305 and 60, with nodes of 8 keys 350 and 58, by halving 1000 and 140; IPv4 230
and 55. An index by the first 16 bits and halving would take 190 and 27 for IPv4, but takes numbers out of the memory
and uses them as places; DIR-24-8 would take 64 MB for IPv4 alone.

Long prefixes. Several ranges may begin in one /64. The search by high halves finds the last of them; if that begins
after the address, the right one is near before it (`step_back`).

Whatever stands in the memory, nobody leaves it. The two counts are read once and checked; all offsets follow from
them. Nothing else that is read becomes a place: keys are only compared, a count is 0..15, and a place is cut to what
its level has. That last step also makes the filling of a level's last node, all ones, harmless.
"""

from libc.stdint cimport uint32_t, uint64_t

from fastpath._atomic cimport peek_word


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #define hkp_big_endian(p) hkp_swapped((p), __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

    static inline uint64_t hkp_swapped(const unsigned char *p, int swap) {
        uint64_t word;
        memcpy(&word, p, 8);
        return swap ? __builtin_bswap64(word) : word;
    }
    """
    uint64_t big_endian "hkp_big_endian"(const unsigned char *packed) noexcept nogil

ctypedef fused Key:
    uint32_t
    uint64_t

cdef enum:
    MAGIC = 0x31585048  # HPX1, the version last; another byte order does not know it
    NODE = 16
    LINE = 64
    MOST_LEVELS = 7  # 16**7 ranges
    MOST_PREFIXES = 67_108_864
    MOST_RANGES = 134_217_729  # two for each, and one
    MAPPED = 0xFFFF  # the bits above the IPv4 address in ::ffff:0:0/96


cdef struct Tree:
    int levels
    uint64_t starts[MOST_LEVELS]  # offset of each level, the leaves' first
    uint64_t counts[MOST_LEVELS]  # its keys


cdef struct Plan:
    uint64_t size  # 0: there is no set
    uint64_t prefixes
    Tree four
    uint64_t values4
    Tree six
    uint64_t lows6
    uint64_t values6


cdef inline uint64_t rounded(uint64_t size, uint64_t multiple) noexcept nogil:
    return (size + multiple - 1) // multiple * multiple


cdef inline uint64_t plan_tree(Tree *tree, uint64_t at, uint64_t count, uint64_t key_bytes) noexcept nogil:
    """Place the levels of a tree of 1..MOST_RANGES keys from an offset on; return the offset behind them."""
    tree.levels = 0
    while True:
        tree.starts[tree.levels] = at
        tree.counts[tree.levels] = count
        tree.levels += 1
        at += rounded(count, NODE) * key_bytes
        if count <= NODE:
            return at
        count = rounded(count, NODE) // NODE


cdef inline void plan_set(Plan *plan, uint64_t ranges4, uint64_t ranges6) noexcept nogil:
    plan.values4 = plan_tree(&plan.four, LINE, ranges4, sizeof(uint32_t))
    plan.lows6 = plan_tree(&plan.six, plan.values4 + rounded(4 * ranges4, LINE), ranges6, sizeof(uint64_t))
    plan.values6 = plan.lows6 + rounded(8 * ranges6, LINE)
    plan.size = plan.values6 + rounded(4 * ranges6, LINE)


cdef inline bint read_plan(Plan *plan, const char *memory, uint64_t size) noexcept nogil:
    """Read the header of a set in so many bytes, each word once; False, and no set, unless it fits."""
    cdef const uint64_t *header = <const uint64_t *>memory
    cdef uint64_t ranges4, ranges6
    plan.size = plan.prefixes = 0
    if size < LINE or peek_word(header) != MAGIC:
        return False
    ranges4, ranges6 = peek_word(header + 2), peek_word(header + 3)
    if not 1 <= ranges4 <= MOST_RANGES or not 1 <= ranges6 <= MOST_RANGES:
        return False
    plan_set(plan, ranges4, ranges6)
    if plan.size > size:
        plan.size = 0
        return False
    plan.prefixes = peek_word(header + 1)
    return True


cdef inline uint64_t last_from(const char *memory, const Tree *tree, Key address) noexcept nogil:
    """Return the place of the last leaf that does not exceed the address; always one of the tree's."""
    cdef const Key *keys
    cdef uint64_t place = 0
    cdef Key passed
    cdef int i, level = tree.levels
    while level:
        level -= 1
        keys = <const Key *>(memory + tree.starts[level]) + NODE * place
        passed = 0
        for i in range(1, NODE):
            passed += keys[i] <= address
        place = min(NODE * place + passed, tree.counts[level] - 1)
    return place


cdef inline uint64_t step_back(const uint64_t *highs, const uint64_t *lows, uint64_t after, uint64_t high,
                        uint64_t low) noexcept nogil:
    """Return the last place before `after`, which begins after the address, that does not; by doubling, then halving."""
    cdef uint64_t step = 1, found, middle
    while step <= after and highs[after - step] == high and lows[after - step] > low:
        after -= step
        step *= 2
    found = after - step if step <= after else 0
    while found + 1 < after:
        middle = (found + after) // 2
        if highs[middle] == high and lows[middle] > low:
            after = middle
        else:
            found = middle
    return found


cdef inline uint32_t find4(const char *memory, const Plan *plan, uint32_t address) noexcept nogil:
    return (<const uint32_t *>(memory + plan.values4))[last_from[uint32_t](memory, &plan.four, address)]


cdef inline uint32_t find6(const char *memory, const Plan *plan, uint64_t high, uint64_t low) noexcept nogil:
    cdef const uint64_t *highs = <const uint64_t *>(memory + plan.six.starts[0])
    cdef const uint64_t *lows = <const uint64_t *>(memory + plan.lows6)
    cdef uint64_t place = last_from[uint64_t](memory, &plan.six, high)
    if lows[place] > low and highs[place] == high:
        place = step_back(highs, lows, place, high, low)
    return (<const uint32_t *>(memory + plan.values6))[place]


cdef inline uint32_t find_packed(const char *memory, const Plan *plan, const unsigned char *packed,
                                 Py_ssize_t size) noexcept nogil:
    """Return the value of an address of 4 or 16 bytes; an IPv4-mapped one is its IPv4 address."""
    cdef uint64_t high = 0, low
    if plan.size == 0:
        return 0
    if size == 4:
        return find4(memory, plan, <uint32_t>packed[0] << 24 | packed[1] << 16 | packed[2] << 8 | packed[3])
    high, low = big_endian(packed), big_endian(packed + 8)
    if high == 0 and low >> 32 == MAPPED:
        return find4(memory, plan, <uint32_t>low)
    return find6(memory, plan, high, low)
