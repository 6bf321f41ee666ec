"""The request that nine of ten are, recognised at a glance."""

def common_get(method: str, target: str) -> str | None:
    """Return the digits of the certificate if this is what gpg and sq send for a get, spelled canonically; else None.

    That is `GET /pks/lookup?op=get&options=mr&search=0x` and 16 or 40 upper-case digits, maybe `&exact=on`. Such a
    target is its own canonical form, a property that a test holds against the general way (`operation.Classifier`).
    """
