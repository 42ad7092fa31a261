"""From a client's probabilities to its generator's bounds."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from twinphase_spec.configure import client_registers, client_symbols, symbol_config
from twinphase_spec.digest import DigestConfig
from twinphase_spec.lab import Client, Lab, LabError, load_lab
from twinphase_spec.symbols import Intensity

KEY = (1, 2, 3, 4)
DIGEST = DigestConfig(key=(5, 6, 7, 8), nonce=0x00112233_44556677)
COARSE = st.sampled_from([0.0, 0.02, 0.1, 0.269, 1 / 3, 0.5, 0.735, 0.9, 1.0])


def client(z: float, send: float, vacuum: float, mu_1: float) -> Client:
    preset = load_lab("seed-370km").clients.alice
    return Client.model_validate(
        preset.model_dump()
        | {"z_probability": z, "send_probability": send, "vacuum_probability": vacuum, "mu1_probability": mu_1}
    )


@given(z=COARSE, send=COARSE, vacuum=COARSE, mu_1=COARSE)
def test_each_symbol_is_as_probable_as_asked_to_1_in_4096(z: float, send: float, vacuum: float, mu_1: float) -> None:
    assume(vacuum + mu_1 <= 1)
    real = symbol_config(client(z, send, vacuum, mu_1), KEY).probabilities()
    asked = {
        (False, Intensity.MU_Z): z * send,
        (False, Intensity.VAC): z * (1 - send),
        (True, Intensity.VAC): (1 - z) * vacuum,
        (True, Intensity.MU_1): (1 - z) * mu_1,
        (True, Intensity.MU_2): (1 - z) * (1 - vacuum - mu_1),
    }
    assert sum(real.values()) == 1
    for member, probability in asked.items():
        assert abs(real[member] - probability) <= 1 / 4096 + 1e-9
        assert (real[member] > 0) == (probability > 1e-9)


def test_certainty_is_exact() -> None:
    assert symbol_config(client(1.0, 1.0, 0.5, 0.5), KEY).bounds == (4096, 4096, 4096, 4096)
    assert symbol_config(client(0.0, 0.3, 1.0, 0.0), KEY).bounds == (0, 0, 4096, 4096)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"send_probability": 1e-4}, r"z_probability \* send_probability is 5e-05"),
        ({"send_probability": 1 - 1e-4}, r"z_probability \* \(1 - send_probability\) is 5e-05"),
        ({"vacuum_probability": 1e-4}, r"\(1 - z_probability\) \* vacuum_probability is 5e-05"),
        ({"mu1_probability": 1e-4}, r"\(1 - z_probability\) \* mu1_probability is 5e-05"),
        (
            {"mu1_probability": 0.8999},
            r"\(1 - z_probability\) \* \(1 - vacuum_probability - mu1_probability\) is 5e-05",
        ),
    ],
)
def test_a_symbol_that_would_never_be_sent_is_refused_by_name(values: dict[str, float], name: str) -> None:
    data = load_lab("seed-370km").model_dump()
    data["clients"]["bob"] |= values
    lab = Lab.model_validate(data)
    words = f"^lab seed-370km: clients.bob: {name}, which the symbols' steps of 1/4096 round to 0; allowed: 0, or about 0.00024 and more$"
    with pytest.raises(LabError, match=words):
        client_symbols(lab, "bob", KEY)
    with pytest.raises(LabError, match=words):
        client_registers(lab, "bob", KEY, 1 << 20, digest=DIGEST)
    client_symbols(lab, "alice", KEY)


def test_registers_hold_key_nonce_and_bounds() -> None:
    lab = load_lab("seed-370km")
    registers = client_registers(lab, "alice", KEY, 1 << 20, nonce=0x01234567_89ABCDEF, digest=DIGEST)
    bounds = symbol_config(lab.clients.alice, KEY).bounds
    assert [registers[f"KEY_{k}"] for k in range(4)] == list(KEY)
    assert (registers["NONCE_0"], registers["NONCE_1"]) == (0x01234567, 0x89ABCDEF)
    assert [registers[f"DIGEST_KEY_{k}"] for k in range(4)] == [5, 6, 7, 8]
    assert (registers["DIGEST_NONCE_0"], registers["DIGEST_NONCE_1"]) == (0x00112233, 0x44556677)
    assert [registers[name] for name in ("SENT_BELOW", "Z_BELOW", "VACUUM_BELOW", "MU1_BELOW")] == list(bounds)
