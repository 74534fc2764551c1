/** What a descriptor table may have at most. Decoding refuses more, so that a damaged image cannot ask for the moon. */

/** The kernel's own ceiling of descriptor numbers (fs.nr_open, by default 2^20). */
export const MAX_DESCRIPTOR_NUMBER = (1 << 20) - 1;
/** PATH_MAX of Linux, in bytes. */
export const MAX_PATH_BYTES = 4096;
/** Bytes of the contents of one file that is carried with the image. */
export const MAX_CARRIED_BYTES = 16 << 20;
/** Bytes of all files of the sandbox's own file systems that nobody has open. */
export const MAX_WRITTEN_BYTES = 64 << 20;
/** Bytes: pipes can be made larger only by a privileged process that changes fs.pipe-max-size. */
export const MAX_PIPE_BYTES = 64 << 20;
/** Longest value of a socket option, in bytes. */
export const MAX_OPTION_BYTES = 256;
/** BPF_MAXINSNS (4096) instructions of 8 bytes. */
export const MAX_FILTER_BYTES = 4096 * 8;
/** IFNAMSIZ without the final NUL. */
export const MAX_DEVICE_NAME_BYTES = 15;
