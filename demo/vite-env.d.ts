// What Vite makes of an import that ends in `?url`: the address of the file as it is served.
declare module "*?url" {
  export const url: string;
  export { url as default };
}

// The same of a script for another thread, compiled.
declare module "*?worker&url" {
  export const url: string;
  export { url as default };
}
