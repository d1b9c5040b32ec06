// Kinds of sample files, by the ends of their names.

/** Images, which sharp reads. */
export const IMAGES = /\.(png|jpe?g|webp|gif|avif|tiff?)$/i;
/** Texts. */
export const TEXTS = /\.(txt|md)$/i;
/** NumPy's arrays. */
export const ARRAYS = /\.np[yz]$/;
