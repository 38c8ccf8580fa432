"""What the processor's vector registers are left like.

isal's CRC-32 leaves the upper halves of them in use (it does not execute VZEROUPPER), and the SHA-256 instructions then
take 0.78 ms for 1 MiB instead of 0.59, and 0.84 us for 1 KB instead of 0.65, for as long as the thread runs. OpenSSL's
SHA-512 cleans up behind itself, so that digesting nothing mends that. (AMD EPYC, OpenSSL 3.0, isal 1.9.1)
"""

import hashlib

clear_vectors = hashlib.sha512().digest
"""To be called before much is hashed, or after much was summed: 0.3 us."""
