"""Decoders fuzzed by the branches that an input takes (atheris: no dependency, pip install atheris).

    python -m tests.security.coverage_guided MODULE TARGET SECONDS FOLDER

FOLDER keeps the inputs that took a new way, and one that was a fault, which is told; without one the status is 0.
"""

import sys
from pathlib import Path


def main(module: str, name: str, seconds: str, folder: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["formats", "converters", "app"]):
        import importlib

        targets = importlib.import_module(module).TARGETS
    (target,) = (target for target in targets if target.name == name)
    corpus = Path(folder, "corpus")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(target.valid):
        (corpus / f"valid-{number}").write_bytes(sample)

    def read(data: bytes) -> None:
        try:
            target.read(data)
        except target.refuses:
            return

    limits = ["-max_len=65536", "-rss_limit_mb=2048", "-timeout=30", "-verbosity=0", f"-max_total_time={seconds}", "-seed=1"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
