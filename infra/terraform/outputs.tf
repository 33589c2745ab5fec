output "writer_policy_arn" {
  description = "For the role of workers and runs."
  value       = aws_iam_policy.writer.arn
}

output "reader_policy_arn" {
  description = "For trainers and analysts."
  value       = aws_iam_policy.reader.arn
}
