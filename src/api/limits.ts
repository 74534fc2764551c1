/** A full configuration lists every file of a sandbox (about 200 bytes each); memory never travels over the API. */
export const MAX_MESSAGE_BYTES = 16 << 20;
