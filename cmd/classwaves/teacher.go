package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/password"
)

func teacherCommand() *cobra.Command {
	parent := &cobra.Command{Use: "teacher", Short: "The accounts of teachers"}
	var url, email, name string
	var count int
	add := &cobra.Command{
		Use:   "add",
		Short: "Make an account, with the password read from standard input",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newSettings("")
			if err != nil {
				return err
			}
			if url = s.or(url, "CW_DATABASE_URL"); url == "" {
				return usage("say which database: --database sqlite:PATH or postgres://..., or CW_DATABASE_URL")
			}
			if count > 1 && !strings.Contains(email, "%d") {
				return usage("with --count the email needs a %%d, where the number goes")
			}
			secret, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return addTeachers(cmd.Context(), cmd.OutOrStdout(), url, email, name, strings.TrimRight(secret, "\r\n"), count)
		},
	}
	add.Flags().StringVar(&url, "database", "", "sqlite:PATH or postgres://... (CW_DATABASE_URL)")
	add.Flags().StringVar(&email, "email", "", "the account's email, by which it logs in")
	add.Flags().StringVar(&name, "name", "", "the teacher's name; default the email")
	add.Flags().IntVar(&count, "count", 1, "make so many accounts, with %d in the email for the number, for load tests")
	parent.AddCommand(add)
	return parent
}

func addTeachers(ctx context.Context, out io.Writer, url, email, name, secret string, count int) (err error) {
	db, err := database.Open(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	passwords, err := password.New(password.Config{})
	if err != nil {
		return err
	}
	for i := range count {
		address := strings.ReplaceAll(email, "%d", fmt.Sprint(i+1))
		shown := name
		if shown == "" {
			shown = address
		}
		switch err := app.AddTeacher(ctx, db, passwords, address, shown, secret); {
		case errors.Is(err, database.ErrConflict) && count > 1:
			fmt.Fprintln(out, address, "was there")
		case err != nil:
			return fmt.Errorf("%s: %w", address, err)
		default:
			fmt.Fprintln(out, address)
		}
	}
	return nil
}
