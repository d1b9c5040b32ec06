// Kinds of sample files, by the ends of their names.

/** Images, which sharp reads. */
export const IMAGES: RegExp = /\.(png|jpe?g|webp|gif|avif|tiff?)$/i;
/** Texts. */
export const TEXTS: RegExp = /\.(txt|md)$/i;
/** NumPy's arrays. */
export const ARRAYS: RegExp = /\.np[yz]$/;
/** Sounds: WAV, and kinds that are refused with the command that converts them. */
export const SOUNDS: RegExp = /\.(wav|mp3|flac|ogg|opus|m4a|aac)$/i;
