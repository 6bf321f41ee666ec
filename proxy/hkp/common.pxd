cpdef str common_get(str method, str target)
