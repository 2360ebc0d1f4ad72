/** The languages that the server reads: VS Code's ids, the server's names, and what people say. */

export interface Language {
  /** VS Code's language ids. */
  readonly ids: readonly string[];
  /** The server's name. */
  readonly name: string;
  readonly label: string;
}

export const LANGUAGES: readonly Language[] = [
  { ids: ["c"], name: "c", label: "C" },
  { ids: ["csharp"], name: "c-sharp", label: "C#" },
  { ids: ["cpp", "cuda-cpp"], name: "cpp", label: "C++" },
  { ids: ["go"], name: "go", label: "Go" },
  { ids: ["java"], name: "java", label: "Java" },
  { ids: ["javascript", "javascriptreact"], name: "javascript", label: "JavaScript" },
  { ids: ["php"], name: "php", label: "PHP" },
  { ids: ["python"], name: "python", label: "Python" },
  { ids: ["ruby"], name: "ruby", label: "Ruby" },
  { ids: ["typescript", "typescriptreact"], name: "typescript", label: "TypeScript" },
];

export const IDS: readonly string[] = LANGUAGES.flatMap(({ ids }) => ids);

/** Languages that a document of a language may be translated to. wanted: names; empty: all. */
export function targets(id: string, wanted: readonly string[]): Language[] {
  const others = LANGUAGES.filter(({ ids }) => !ids.includes(id));
  return wanted.length ? others.filter(({ name }) => wanted.includes(name)) : others;
}
