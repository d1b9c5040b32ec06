// Vite's result of an import that ends in `?url`: the URL of the file as it is served.
declare module "*?url" {
  export const url: string;
  export { url as default };
}

// The same for a script of another thread, compiled.
declare module "*?worker&url" {
  export const url: string;
  export { url as default };
}
