"""Published vectors of AES-128: FIPS-197, appendices A.1, B and C.1; SP 800-38A, F.1.1 (ECB) and F.5.1 (CTR)."""

SP800_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
"""Also that of FIPS-197, A.1 and B."""

_SP800_PLAIN = [
    bytes.fromhex(text)
    for text in (
        "6bc1bee22e409f96e93d7e117393172a",
        "ae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52ef",
        "f69f2445df4f9b17ad2b417be66c3710",
    )
]
_ECB_CIPHER = [
    bytes.fromhex(text)
    for text in (
        "3ad77bb40d7a3660a89ecaf32466ef97",
        "f5d3d58503b9699de785895a96fdbaaf",
        "43b1cd7f598ece23881b00e3ed030688",
        "7b0c785e27e8ad3f8223207104725dd4",
    )
]
_CTR_CIPHER = [
    bytes.fromhex(text)
    for text in (
        "874d6191b620e3261bef6864990db6ce",
        "9806f66b7970fdff8617187bb9fffdff",
        "5ae4df3edbd5d35e5b4f09020db03eab",
        "1e031dda2fbe03d1792170a0f3009cee",
    )
]

PAIRS = [
    (
        SP800_KEY,
        bytes.fromhex("3243f6a8885a308d313198a2e0370734"),
        bytes.fromhex("3925841d02dc09fbdc118597196a0b32"),
    ),
    (
        bytes.fromhex("000102030405060708090a0b0c0d0e0f"),
        bytes.fromhex("00112233445566778899aabbccddeeff"),
        bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a"),
    ),
    *((SP800_KEY, plain, cipher) for plain, cipher in zip(_SP800_PLAIN, _ECB_CIPHER, strict=True)),
]
"""Key, plain block, cipher block: B, C.1, F.1.1."""

_FIRST_COUNTER = 0xF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF
COUNTER_BLOCKS = [(_FIRST_COUNTER + k).to_bytes(16, "big") for k in range(4)]
COUNTER_OUTPUTS = [
    bytes(a ^ b for a, b in zip(plain, cipher, strict=True))
    for plain, cipher in zip(_SP800_PLAIN, _CTR_CIPHER, strict=True)
]
"""F.5.1: counter blocks under SP800_KEY, and the key stream, cipher text plus plain text."""

_SCHEDULE = (
    "2b7e151628aed2a6abf7158809cf4f3c a0fafe1788542cb123a339392a6c7605 f2c295f27a96b9435935807a7359f67f "
    "3d80477d4716fe3e1e237e446d7a883b ef44a541a8525b7fb671253bdb0bad00 d4d1c6f87c839d87caf2b8bc11f915bc "
    "6d88a37a110b3efddbf98641ca0093fd 4e54f70e5f5fc9f384a64fb24ea6dc4f ead27321b58dbad2312bf5607f8d292f "
    "ac7766f319fadc2128d12941575c006e d014f9a8c9ee2589e13f0cc8b6630ca6"
).replace(" ", "")
SCHEDULE = [int(_SCHEDULE[8 * k : 8 * k + 8], 16) for k in range(44)]
"""A.1: w[0] .. w[43] of SP800_KEY."""
