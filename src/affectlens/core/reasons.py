"""Every code that the `reason` column can hold: why a source has no face in the results."""

from enum import StrEnum


class Reason(StrEnum):
    """The value is what is written; the docstring of each says what happened."""

    MISSING = "missing"
    """No such file or folder, or a glob that matches nothing."""
    NO_PERMISSION = "no_permission"
    """The file or folder may not be read."""
    NOT_A_FILE = "not_a_file"
    """A socket, device or pipe, or an error of the file system."""
    EMPTY_FILE = "empty_file"
    """The file has no bytes."""
    NOT_AN_IMAGE = "not_an_image"
    """The first bytes are not those of JPEG, PNG, GIF, BMP, WebP or TIFF, whatever the file's name says."""
    TRUNCATED = "truncated"
    """The file ends before the image does."""
    DAMAGED = "damaged"
    """The decoder gave up."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header announces more pixels than `runtime.media.MAX_PIXELS`; nothing was decoded."""
    TOO_LARGE = "too_large"
    """The file has more bytes than `runtime.media.MAX_BYTES`; it was not opened."""
    FAILED = "failed"
    """The analysis of a readable image broke off, for want of memory for example."""
    NO_IMAGES = "no_images"
    """The folder holds no image files."""
    NO_FACE = "no_face"
    """The image was read and the detector found no face of at least the smallest size."""
