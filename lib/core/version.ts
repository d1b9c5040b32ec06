// The running release. Data that a page stores for later pages (measurements, cached results) is valid for this release
// alone: another one may have other kernels and other formats. version.test.ts keeps it equal to package.json's.

/** Versions of this package and of the ONNX Runtime in it. */
export const RELEASE = "0.1.0 1.30.0";
