// What the types can't say: promises nobody waits for, escapes from the type checker, exports without a name.
// Layout is Prettier's business.
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";
import { borders } from "./.ci/borders.js";
import { plainWordsPlugin } from "./.ci/plain-words.js";

export default defineConfig(
  {
    ignores: [
      "dist/",
      "demo-dist/",
      "models/dist/",
      "e2e/.cache/",
      "e2e/results/",
      "test-results/",
      "**/*.gen.*",
      "lib/cli/templates/",
    ],
  },
  {
    files: ["**/*.ts", "**/*.tsx", "**/*.js"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ["*.config.js", ".size-limit.js", ".ci/*.js", "lib/cli/bin.js"] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-console": "error",
      "prefer-const": "error",
      "@typescript-eslint/ban-ts-comment": ["error", { "ts-expect-error": true, minimumDescriptionLength: 1000 }],
      "@typescript-eslint/consistent-type-imports": ["error", { disallowTypeAnnotations: false }],
      "@typescript-eslint/no-import-type-side-effects": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "none" }],
      // Numbers and booleans read well in a message; objects do not.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-this-alias": "off",
      "@typescript-eslint/unbound-method": "off",
      // A string spread into code points is what a text metric wants.
      "@typescript-eslint/no-misused-spread": "off",
      "@typescript-eslint/no-meaningless-void-operator": "off",
      // The generated ONNX schema stores enums as plain numbers.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
      // lib.dom promises what not every browser keeps (`navigator.gpu`), so such a check is needed all the same.
      "@typescript-eslint/no-unnecessary-condition": "off",
      // A method may be async because its interface is.
      "@typescript-eslint/require-await": "off",
      "no-restricted-syntax": [
        "error",
        { selector: "ExportDefaultDeclaration", message: "An export has a name." },
        { selector: ":not(MethodDefinition[kind='constructor'])[accessibility='private']", message: "Use #private." },
      ],
    },
  },
  {
    // Tools speak to a terminal, and configurations are read by their default export.
    files: [
      "*.config.ts",
      "*.config.js",
      ".ci/verify.ts",
      "lib/build/build.ts",
      "lib/compress/**",
      "models/**",
      "e2e/**",
    ],
    rules: { "no-console": "off" },
  },
  {
    // What is not there fails a test all the same.
    files: ["**/*.test.ts", "**/*.spec.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
  {
    files: ["*.config.ts", "e2e/mutants/{kept-tests,vitest.config}.ts", "*.config.js", ".size-limit.js"],
    rules: { "no-restricted-syntax": "off" },
  },
  {
    files: ["**/*.ts", "**/*.tsx"],
    plugins: { selvedge: plainWordsPlugin },
    rules: { "selvedge/plain-words": "error" },
  },
  ...borders,
);
