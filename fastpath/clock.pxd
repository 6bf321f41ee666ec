cpdef long long monotonic_ns() noexcept
