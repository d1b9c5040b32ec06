// Properties that are made when they are looked at: accessors of the object itself, so that a copy of it has them, and of
// one function for all objects. A getter in a literal is a function, a hidden class and a table of properties for each
// object; V8 keeps those until its next full collection, and with them all that the getter sees.

/** Describes such a property, for Object.defineProperty. */
export function lazily(get: (from: never) => unknown): PropertyDescriptor {
  return {
    enumerable: true,
    configurable: true,
    get(this: never) {
      return get(this);
    },
  };
}
