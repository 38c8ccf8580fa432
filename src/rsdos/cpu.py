"""The state of the processor's vector registers.

isal's CRC-32 leaves their upper halves in use (it does not execute VZEROUPPER). From then on the SHA-256 instructions
of that thread take 0.78 ms for 1 MiB instead of 0.59, and 0.84 us for 1 KB instead of 0.65. OpenSSL's SHA-512 clears
the registers when it ends, so digesting nothing with it resets them. (AMD EPYC, OpenSSL 3.0, isal 1.9.1)
"""

import hashlib

clear_vectors = hashlib.sha512().digest
"""Reset the vector registers (0.3 us). Call this before hashing much, or after many CRC-32 sums."""
