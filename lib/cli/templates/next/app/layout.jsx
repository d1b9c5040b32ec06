export const metadata = { title: "Text from a picture", icons: "data:," };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <head>
        <link rel="stylesheet" href={`${process.env.NEXT_PUBLIC_BASE ?? ""}/style.css`} />
      </head>
      <body>{children}</body>
    </html>
  );
}
