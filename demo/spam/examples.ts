// Example mails, written for this page: none is from the training or test set of the classifier.

/** Mails by the name of their button. */
export const EXAMPLES: Readonly<Record<string, string>> = {
  prize: `From: "Award Office" <winner@lucky-draw.example>
To: you@home.example
Subject: CONGRATULATIONS!!! You have been selected - claim your FREE prize today
Content-Type: text/plain; charset=utf-8

Dear Friend,

You are one of only 25 lucky winners of our special holiday draw! Click here
NOW to claim $5,000 CASH plus a FREE vacation for two:

   http://www.lucky-draw.example/claim.html

This offer expires in 48 hours. No purchase necessary, no credit check, 100%
guaranteed. Act now! Thousands of people just like you are already making
money from home with our amazing system.

To be removed from our mailing list, reply with REMOVE in the subject line.
`,
  account: `From: Customer Security <service@bank-alerts.example>
Subject: =?utf-8?Q?Important=3A_your_account_will_be_suspended?=
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<html><body><p>Dear valued customer,</p>
<p>We were unable to verify your billing information. To avoid the suspension =
of your account, please <a href=3D"http://198.51.100.7/login">confirm your cre=
dit card number and password</a> within 24 hours.</p>
<p>Thank you for your business.<br>Customer Service Department</p></body></html>
`,
  minutes: `From: Ines Okafor <ines@workshop.example>
To: planning@workshop.example
Subject: Re: Minutes from Tuesday

Hi all,

thanks for the notes. Two small corrections: the roof was item 4, not 3, and
I said that I would ask the carpenter for a second quote before we decide.

> Ines: will order the windows this week

I'd rather wait for the measurements. Can we talk about it on Thursday, when
Tom is back? I'll bring the drawings.

Ines
`,
  list: `From: Pavel <pavel@code.example>
To: dev@lists.code.example
Subject: [dev] Build fails on the new compiler

On Monday Ruth wrote:
> The nightly build fails since the update. Is it only me?

No, I see it too. The linker can't find libfoo.so.2 because the package moved
it. As a workaround, set LD_LIBRARY_PATH before you run make; a proper fix
would be to ask pkg-config for the path. I'll send a patch tonight if nobody
objects.

-- 
Pavel
_______________________________________________
dev mailing list
dev@lists.code.example
`,
};
