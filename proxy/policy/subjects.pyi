"""Words of 64 bits for what is asked for; why they are keyed is said in `subjects.pyx`."""

class Subjects:
    """Makes the words of one node; immutable."""

    def __init__(self, secret: bytes) -> None:
        """Take the 16-byte secret of the region; ValueError for another length."""

    def word_of(self, text: str) -> int:
        """Return the word of any text, 1..2**64-1."""

    def counted_as(self, kind: int, subject: str) -> int:
        """Return the word under which a subject is counted among the distinct ones; 0 for classes that are not counted.

        A certificate counts once, whether it is asked for by fingerprint (v4, v6) or by key id.
        """

    def certificate_of(self, digits: str) -> int:
        """Return the word that all names of a certificate share: fingerprint (v4, v6), key id and short id.

        It goes by the short id, so that a few certificates may share it. That of version 3 has no other names here.
        """

    def domain_of(self, kind: int, subject: str) -> int:
        """Return the word of the mail domain of an identity; 0 if there is none."""
