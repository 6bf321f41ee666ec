"""Operations of OpenPGP keyservers: what a request asks for and what it costs. No I/O."""
