"""The first lines of a benchmark's output: its command, and what it ran on."""

import affectlens


def headline(command: str) -> str:
    """Two lines."""
    found = affectlens.environment()
    return (
        f"$ {command}\n"
        f"affectlens {found['affectlens']}, bundled model {str(found['model_sha256'])[:12]}, {found['cores']} cores of "
        f"{found['processor']}, Python {found['python']}"
    )
