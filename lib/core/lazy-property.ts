// Properties that are computed on first access: accessors of the object itself, so that a copy of it has them, with one
// function for all objects. A getter in a literal is a function, a hidden class and a table of properties for each
// object; V8 retains those until its next full collection, and with them everything that the getter's closure
// references.

/** Returns the descriptor of such a property, for Object.defineProperty. */
export function lazyProperty(get: (from: never) => unknown): PropertyDescriptor {
  return {
    enumerable: true,
    configurable: true,
    get(this: never) {
      return get(this);
    },
  };
}
