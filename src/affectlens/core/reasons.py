"""The codes of the column `reason`, and those that `quality` joins by "+" where it is not "ok"."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a source has no face in the results: what is written, and in each docstring what happened."""

    MISSING = "missing"
    """No such file or folder, a glob that matches nothing, or an address that is not fetched."""
    NO_PERMISSION = "no_permission"
    """The file or folder may not be read."""
    NOT_A_FILE = "not_a_file"
    """A socket, device or pipe, a folder where a file is needed, or an error of the file system."""
    EMPTY_FILE = "empty_file"
    """The file has no bytes."""
    NOT_AN_IMAGE = "not_an_image"
    """The first bytes are not those of JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or HEIC, whatever the file's name says."""
    UNSUPPORTED = "unsupported"
    """The format is known, but not this kind of it (pixels of three floating-point channels, for example), or HEIC
    without the extra `heif`."""
    TRUNCATED = "truncated"
    """The file ends before the image or the video does, and less than nine tenths of the image can be decoded (one with
    more is analyzed and called incomplete); the frames of the video before the end are there."""
    DAMAGED = "damaged"
    """The decoder gave up."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header announces more pixels than `core.image_file.MAX_PIXELS`; nothing was decoded."""
    TOO_LARGE = "too_large"
    """The file has more bytes than `runtime.media.MAX_BYTES`; it was not opened."""
    FAILED = "failed"
    """The analysis of a readable image broke off, for want of memory for example."""
    NO_IMAGES = "no_images"
    """The folder holds neither images nor videos."""
    MISSING_EXTRA = "missing_extra"
    """The source needs an optional package that is not installed."""
    NOT_A_VIDEO = "not_a_video"
    """The file is named like a video, and is none of a kind that is read (MP4, MOV, MKV, WebM, AVI, MPEG, FLV, ASF,
    Ogg)."""
    NO_VIDEO = "no_video"
    """The file holds sound or other data but no video."""
    NO_FRAMES = "no_frames"
    """The video has no frame."""
    NO_CAMERA = "no_camera"
    """There is no camera of this number, or it may not be used."""
    STREAM_LOST = "stream_lost"
    """The camera or the network stream gave no more pictures, or could not be reached."""
    CRASHED = "crashed"
    """Of batches: the process that read it died, twice."""
    NOT_WRITTEN = "not_written"
    """Of batches: its rows could not be written, for want of space for example; it has none, and is read again when the
    batch goes on."""
    NO_FACE = "no_face"
    """The image was read and the detector found no face of at least the smallest size."""


class Flaw(StrEnum):
    """Why the answer for a face deserves less trust (benchmarks/quality.txt)."""

    SMALL = "small"
    """The longer side of its box is below 24 pixels."""
    CUT_OFF = "cut_off"
    """More than 15 % of its box lie outside the picture."""
    BLURRED = "blurred"
    """Its edges are weak for its contrast (sharpness below 0.2)."""
    DARK = "dark"
    """Its mean brightness is below 3 %: little but noise and compression artefacts is left."""
    OVEREXPOSED = "overexposed"
    """More than half of it is white."""
    FLAT = "flat"
    """Its contrast, the deviation of its brightness, is below 1.5 %."""
    TURNED = "turned"
    """It looks more than 45 degrees aside, or more than 40 up or down."""
