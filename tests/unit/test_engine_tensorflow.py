"""What the engine asks of TensorFlow itself: full precision on every device, and answers where XLA compiles nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.errors import DeviceError, ModelError, OutOfMemoryError
from tests.frozen_models import engine_settings, pulses, softmax

BATCH = 32

WITHOUT_XLA = """
import ctypes, logging, pickle, sys
from pathlib import Path
import numpy as np
from psdbatch.models.engine import Engine
from psdbatch.models.quiet import tf

library = Path(tf.__file__).parent / "libtensorflow_cc.so.2"
getattr(ctypes.CDLL(str(library)), "_ZN10tensorflow21DisableXlaCompilationEv")()
logging.basicConfig(format="%(name)s %(message)s")
settings, samples = pickle.load(sys.stdin.buffer)
engine = Engine(settings, len(samples))
answer = engine.run(samples)
np.savez(sys.argv[1], compiled=engine.compiled, probability=answer["probability"], amplitude=answer["amplitude"])
"""
"""A process whose TensorFlow has XLA switched off in its own library, as if no compiler were there."""


def test_tensor_float_32_is_off_after_configuration() -> None:
    from psdbatch.models.engine import configure_tensorflow
    from psdbatch.models.quiet import tf

    tf.config.experimental.enable_tensor_float_32_execution(True)
    configure_tensorflow(1)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_where_xla_compiles_nothing_everything_runs_uncompiled_with_messages(tmp_path: Path) -> None:
    from psdbatch.models.engine import Engine

    settings = engine_settings(tmp_path / "softmax.pb", softmax)
    samples = pulses(BATCH)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_XLA, tmp_path / "answer.npz"],
        input=pickle.dumps((settings, samples)),
        capture_output=True,
        check=False,
    )
    messages = done.stderr.decode()
    assert done.returncode == 0, messages
    assert "softmax.pb: XLA does not compile this model, its graph runs uncompiled: " in messages
    assert "softmax.pb: XLA does not compile the preparation either, it runs uncompiled too: " in messages
    expected = Engine(settings, BATCH)
    assert expected.compiled
    with np.load(tmp_path / "answer.npz") as answer:
        assert not answer["compiled"]
        for name in ("probability", "amplitude"):
            np.testing.assert_allclose(answer[name], expected.run(samples)[name].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("InternalError", DeviceError),
        ("UnknownError", DeviceError),
        ("UnavailableError", DeviceError),
        ("InvalidArgumentError", ModelError),
        ("UnimplementedError", ModelError),
        ("ResourceExhaustedError", OutOfMemoryError),
    ],
)
def test_what_is_the_device_s_fault_is_told_from_the_model_s(
    tmp_path: Path, kind: str, expected: type[Exception]
) -> None:
    from psdbatch.models.engine import Engine
    from psdbatch.models.quiet import tf

    engine = Engine(engine_settings(tmp_path / "softmax.pb", softmax), 8)

    def failing(batch: Any) -> Any:
        raise getattr(tf.errors, kind)(None, None, "what TensorFlow says")

    engine._function = failing
    with pytest.raises(expected, match="what TensorFlow says"):
        engine.run(pulses(8))
