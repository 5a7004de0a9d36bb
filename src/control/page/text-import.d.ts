/** What the browser gets is imported as text (`with { type: "text" }`), so that the single binary carries it. */
declare module "*/page/script.js" {
  const text: string;
  export default text;
}
declare module "*/page/style.css" {
  const text: string;
  export default text;
}
